//! Batches reads of neighbouring registers into few requests.

use crate::register::{Register, Table};

/// One read of neighbouring bits or words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The table to read.
    pub table: Table,
    /// The address of the first bit or word, from 0.
    pub address: u16,
    /// The number of bits or words.
    pub count: u16,
    /// The registers that the response contains, as indexes into the planned list.
    pub registers: Vec<usize>,
}

/// Returns the requests that read all registers, each register once.
///
/// Two registers share a request if at most `merge_gap_max` unused bits or words lie between them
/// and the request stays within [`Table::count_max`]. A device may reject the read of an unused
/// address, so 0 is the safe choice.
pub fn plan_requests(registers: &[Register], merge_gap_max: u16) -> Vec<Request> {
    let mut order: Vec<_> = registers.iter().enumerate().collect();
    order.sort_by_key(|(_, register)| (register.table, register.address));
    let mut requests: Vec<Request> = Vec::new();
    for (index, register) in order {
        let is_merged =
            requests.last_mut().is_some_and(|last| last.merge(index, register, merge_gap_max));
        if !is_merged {
            requests.push(Request {
                table: register.table,
                address: register.address,
                count: register.count(),
                registers: vec![index],
            });
        }
    }
    requests
}

impl Request {
    /// Adds a register that starts at or after this request; returns `false` if it does not fit.
    fn merge(&mut self, index: usize, register: &Register, merge_gap_max: u16) -> bool {
        debug_assert!(register.table != self.table || register.address >= self.address, "unsorted");
        // Addresses end at 65,535, but the sum of an address and a count can be larger.
        let end = u32::from(self.address) + u32::from(self.count);
        let register_end = u32::from(register.address) + u32::from(register.count());
        let count = register_end.max(end) - u32::from(self.address);
        let is_near = u32::from(register.address) <= end + u32::from(merge_gap_max);
        let Some(count) =
            u16::try_from(count).ok().filter(|count| *count <= self.table.count_max())
        else {
            return false;
        };
        if register.table != self.table || !is_near {
            return false;
        }
        self.count = count;
        self.registers.push(index);
        true
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Kind, Order};

    fn register(table: Table, address: u16, kind: Kind) -> Register {
        Register { channel: address.to_string(), table, address, kind, order: Order::Abcd }
    }

    fn shape(requests: &[Request]) -> Vec<(Table, u16, u16)> {
        requests.iter().map(|request| (request.table, request.address, request.count)).collect()
    }

    #[test]
    fn merges_neighbours_of_one_table_in_any_order() {
        let registers = [
            register(Table::Input, 2, Kind::Float),
            register(Table::Holding, 4, Kind::Unsigned(1)),
            register(Table::Input, 0, Kind::Float),
            register(Table::Input, 1, Kind::Bit(3)),
        ];
        let requests = plan_requests(&registers, 0);
        assert_eq!(shape(&requests), [(Table::Holding, 4, 1), (Table::Input, 0, 4)]);
        assert_eq!(requests[1].registers, [2, 3, 0]);
    }

    #[test]
    fn reads_across_a_gap_only_if_allowed() {
        let registers = [0, 3].map(|address| register(Table::Holding, address, Kind::Unsigned(1)));
        assert_eq!(plan_requests(&registers, 1).len(), 2);
        assert_eq!(shape(&plan_requests(&registers, 2)), [(Table::Holding, 0, 4)]);
    }

    #[test]
    fn limits_requests_to_the_size_of_the_standard() {
        let words: Vec<_> =
            (0..200).map(|address| register(Table::Input, address, Kind::Unsigned(1))).collect();
        let expected = [(Table::Input, 0, 125), (Table::Input, 125, 75)];
        assert_eq!(shape(&plan_requests(&words, 0)), expected);
    }

    proptest! {
        #[test]
        fn reads_each_register_once_and_completely(
            places in prop::collection::vec((0..4_u8, any::<u16>(), 0..3_u16), 0..60),
            merge_gap_max: u16,
        ) {
            let registers: Vec<_> = places.iter().map(|(table, address, kind)| {
                let table = match table {
                    0 => Table::Coils,
                    1 => Table::Discrete,
                    2 => Table::Holding,
                    _ => Table::Input,
                };
                register(table, (*address).min(65_531), Kind::Unsigned(1 << kind))
            }).collect();
            let mut seen = Vec::new();
            for request in plan_requests(&registers, merge_gap_max) {
                prop_assert!(request.count <= request.table.count_max());
                for index in request.registers {
                    let register = &registers[index];
                    prop_assert_eq!(register.table, request.table);
                    prop_assert!(register.address >= request.address);
                    let end = u32::from(register.address) + u32::from(register.count());
                    prop_assert!(end <= u32::from(request.address) + u32::from(request.count));
                    seen.push(index);
                }
            }
            seen.sort_unstable();
            prop_assert_eq!(seen, (0..registers.len()).collect::<Vec<_>>());
        }
    }
}
