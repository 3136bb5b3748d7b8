//! Joins neighbouring registers into few requests.

use super::{Register, Table};

/// One read of neighbouring bits or words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// From which table.
    pub table: Table,
    /// From which address.
    pub address: u16,
    /// How many bits or words.
    pub count: u16,
    /// Which registers it brings, as indexes of the list that was planned.
    pub members: Vec<usize>,
}

/// The requests that bring all registers. Two are joined if at most `merge_gap_max` bits or words that nobody wants lie between
/// them, and as long as one request may be so large. A device may refuse to tell what lies between, so 0 is the safe choice.
pub fn plan(registers: &[Register], merge_gap_max: u16) -> Vec<Request> {
    let mut order: Vec<_> = registers.iter().enumerate().collect();
    order.sort_by_key(|(_, register)| (register.table, register.address));
    let mut requests: Vec<Request> = Vec::new();
    for (index, register) in order {
        let joined =
            requests.last_mut().is_some_and(|last| last.join(index, register, merge_gap_max));
        if !joined {
            requests.push(Request {
                table: register.table,
                address: register.address,
                count: register.count(),
                members: vec![index],
            });
        }
    }
    requests
}

impl Request {
    /// Takes a register that begins no earlier than this does; `false` if it is too far away.
    fn join(&mut self, index: usize, register: &Register, merge_gap_max: u16) -> bool {
        // Beyond 65,535 there are no addresses, but a sum of two may be.
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
        self.members.push(index);
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
    fn neighbours_of_one_table_are_joined_in_any_order() {
        let registers = [
            register(Table::Input, 2, Kind::Float),
            register(Table::Holding, 4, Kind::Unsigned(1)),
            register(Table::Input, 0, Kind::Float),
            register(Table::Input, 1, Kind::Bit(3)),
        ];
        let requests = plan(&registers, 0);
        assert_eq!(shape(&requests), [(Table::Holding, 4, 1), (Table::Input, 0, 4)]);
        assert_eq!(requests[1].members, [2, 3, 0]);
    }

    #[test]
    fn a_gap_is_read_over_only_if_it_is_allowed() {
        let registers = [0, 3].map(|address| register(Table::Holding, address, Kind::Unsigned(1)));
        assert_eq!(plan(&registers, 1).len(), 2);
        assert_eq!(shape(&plan(&registers, 2)), [(Table::Holding, 0, 4)]);
    }

    #[test]
    fn no_request_is_larger_than_the_standard_allows() {
        let words: Vec<_> =
            (0..200).map(|address| register(Table::Input, address, Kind::Unsigned(1))).collect();
        let expected = [(Table::Input, 0, 125), (Table::Input, 125, 75)];
        assert_eq!(shape(&plan(&words, 0)), expected);
    }

    proptest! {
        #[test]
        fn each_register_is_brought_once_and_whole(
            spots in prop::collection::vec((0..4_u8, any::<u16>(), 0..3_u16), 0..60), merge_gap_max: u16,
        ) {
            let registers: Vec<_> = spots.iter().map(|(table, address, kind)| {
                let table = match table {
                    0 => Table::Coils,
                    1 => Table::Discrete,
                    2 => Table::Holding,
                    _ => Table::Input,
                };
                register(table, (*address).min(65_531), Kind::Unsigned(1 << kind))
            }).collect();
            let mut seen = Vec::new();
            for request in plan(&registers, merge_gap_max) {
                prop_assert!(request.count <= request.table.count_max());
                for member in request.members {
                    let register = &registers[member];
                    prop_assert_eq!(register.table, request.table);
                    prop_assert!(register.address >= request.address);
                    let end = u32::from(register.address) + u32::from(register.count());
                    prop_assert!(end <= u32::from(request.address) + u32::from(request.count));
                    seen.push(member);
                }
            }
            seen.sort_unstable();
            prop_assert_eq!(seen, (0..registers.len()).collect::<Vec<_>>());
        }
    }
}
