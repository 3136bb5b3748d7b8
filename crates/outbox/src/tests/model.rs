//! Compares the outbox with a simple model, through evictions, reopenings and crashes.

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::prelude::*;
use tempfile::TempDir;

use super::{assert_consistent, bus, copy_of, device};
use crate::{Amount, Commit, NewState, Options, Outbox};
use tidegate_model::Priority;
use tidegate_model::{DeviceId, Ledger, ReadingTime, Reason, WallTime};

/// A small outbox, so that some appends evict.
const CROWDED: Options = Options { bytes_max: 300, segment_bytes: 64 << 10, ..super::OPTIONS };

/// Small segments, so that most states are packed. Packed states are evicted in larger blocks than
/// in the model, so this outbox is too large to evict.
const PACKED: Options = Options { bytes_max: 1 << 20, segment_bytes: 1, ..super::OPTIONS };

/// Small segments, of which several wait in the journal.
const WAITING: Options = Options { journal_bytes: 24 << 10, ..PACKED };

/// The simplest outbox: the queued states, in the order of eviction.
#[derive(Debug, Clone, Default, PartialEq)]
struct Model {
    states: Vec<ModelState>,
    last: BTreeMap<u8, u64>,
    ledger: Ledger,
    rejects: usize,
    commit: u64,
    bytes_max: usize,
}

#[derive(Debug, Clone, PartialEq)]
struct ModelState {
    commit: u64,
    device: u8,
    sequence: u64,
    bus: &'static str,
    json: Vec<u8>,
}

/// The observable content of an outbox or of a model.
#[derive(Debug, PartialEq)]
struct View {
    queues: BTreeMap<DeviceId, Vec<(u64, Vec<u8>)>>,
    amounts: BTreeMap<DeviceId, Amount>,
    waiting_per_bus: BTreeMap<String, u64>,
    ledger: Ledger,
    rejects: usize,
}

/// A state that an action appends.
#[derive(Debug, Clone)]
struct ModelAppend {
    device: u8,
    bus: &'static str,
    length: usize,
}

#[derive(Debug, Clone)]
enum Action {
    /// Appends states; each has two readings.
    Append(Vec<ModelAppend>),
    /// Acknowledges `states` states, after the first `stay` ones.
    Ack {
        device: u8,
        stay: usize,
        states: usize,
    },
    Reject {
        device: u8,
    },
    Flush,
    Reopen,
    Crash,
}

fn action() -> impl Strategy<Value = Action> {
    let state = (1..4_u8, prop_oneof![Just("a"), Just("b")], 1..60_usize);
    let state = state.prop_map(|(device, bus, length)| ModelAppend { device, bus, length });
    prop_oneof![
        6 => prop::collection::vec(state, 0..6).prop_map(Action::Append),
        4 => (1..4_u8, 0..4_usize, 0..8_usize)
            .prop_map(|(device, stay, states)| Action::Ack { device, stay, states }),
        2 => (1..4_u8).prop_map(|device| Action::Reject { device }),
        1 => Just(Action::Flush),
        1 => Just(Action::Reopen),
        1 => Just(Action::Crash),
    ]
}

impl Model {
    fn append(&mut self, states: &[ModelAppend]) -> Commit {
        let incoming: usize = states.iter().map(|state| state.length).sum();
        while self.bytes() + incoming > self.bytes_max {
            let Some(ModelState { commit, device, .. }) = self.states.first().cloned() else {
                break;
            };
            for gone in self.remove(|one| (one.commit, one.device) == (commit, device)) {
                *self.account(gone.bus).dropped.entry(Reason::OutboxFull).or_default() += 2;
            }
        }
        let mut commit = Commit::default();
        self.commit += 1;
        for ModelAppend { device: number, bus: bus_name, length } in states {
            let sequence = self.last.entry(*number).or_default();
            *sequence += 1;
            let json = vec![b'0' + u8::try_from(*sequence % 10).unwrap(); *length];
            let pending = NewState {
                device: device(*number),
                bus: bus(bus_name),
                moment: ReadingTime::Wall(WallTime::from_millis(1_000)),
                priority: Priority::default(),
                readings: 2,
                json: Bytes::from(json.clone()),
            };
            let (commit_number, sequence) = (self.commit, *sequence);
            self.states.push(ModelState {
                commit: commit_number,
                device: *number,
                sequence,
                bus: bus_name,
                json,
            });
            commit.states.push(pending);
            for ledger in [&mut self.ledger, &mut commit.ledger] {
                let account = ledger.entry(bus(bus_name)).or_default();
                account.received += 2;
                account.outbox_in += 2;
            }
        }
        for ledger in [&mut self.ledger, &mut commit.ledger] {
            ledger.entry(bus("a")).or_default().reject(Reason::Malformed, 1);
        }
        self.states.sort_by_key(|one| (one.commit, one.device, one.sequence));
        commit
    }

    /// Removes the matching states.
    fn remove(&mut self, matches: impl Fn(&ModelState) -> bool) -> Vec<ModelState> {
        self.states.extract_if(.., |one| matches(one)).collect()
    }

    fn account(&mut self, name: &str) -> &mut tidegate_model::Account {
        self.ledger.entry(bus(name)).or_default()
    }

    fn bytes(&self) -> usize {
        self.states.iter().map(|one| one.json.len()).sum()
    }

    /// Returns the sequence number of the nth queued state of a device.
    fn nth(&self, device: u8, n: usize) -> Option<u64> {
        self.states.iter().filter(|one| one.device == device).nth(n).map(|one| one.sequence)
    }

    /// Applies an action to the outbox and the model. Returns whether all changes up to here must
    /// survive a crash.
    fn apply(&mut self, action: &Action, outbox: &Outbox) -> bool {
        match action {
            Action::Append(states) => {
                outbox.append(&self.append(states)).unwrap();
                !states.is_empty()
            }
            Action::Ack { device: number, stay, states } => {
                let through = states.checked_sub(1).and_then(|n| self.nth(*number, stay + n));
                let (Some(first), Some(through)) = (self.nth(*number, *stay), through) else {
                    return false;
                };
                let range = first..=through;
                let gone =
                    self.remove(|one| one.device == *number && range.contains(&one.sequence));
                for one in &gone {
                    self.account(one.bus).stored += 2;
                }
                let removed = outbox.ack(device(*number), first, through).unwrap();
                assert_eq!(
                    (removed.states, removed.readings),
                    (*states as u64, 2 * *states as u64)
                );
                false
            }
            Action::Reject { device: number } => {
                let Some(sequence) = self.nth(*number, 0) else { return false };
                for one in self.remove(|one| one.device == *number && one.sequence == sequence) {
                    *self.account(one.bus).rejected.entry(Reason::RefusedByCloud).or_default() += 2;
                }
                self.rejects += 1;
                let time = WallTime::from_millis(0);
                outbox.reject(device(*number), sequence, "no", time).unwrap();
                true
            }
            Action::Flush => {
                outbox.flush().unwrap();
                true
            }
            Action::Reopen | Action::Crash => false,
        }
    }

    fn view(&self) -> View {
        let (mut queues, mut amounts) = (BTreeMap::<_, Vec<_>>::new(), BTreeMap::new());
        let mut waiting_per_bus = BTreeMap::new();
        for one in &self.states {
            let id = device(one.device);
            queues.entry(id).or_default().push((one.sequence, one.json.clone()));
            let amount: &mut Amount = amounts.entry(id).or_default();
            let bytes = one.json.len() as u64;
            *amount = amount.plus(Amount { states: 1, readings: 2, bytes });
            *waiting_per_bus.entry(one.bus.to_owned()).or_default() += 2;
        }
        View {
            queues,
            amounts,
            waiting_per_bus,
            ledger: self.ledger.clone(),
            rejects: self.rejects,
        }
    }
}

impl View {
    fn of(outbox: &Outbox) -> Self {
        let backlog = outbox.queue_sizes();
        let mut queues = BTreeMap::new();
        for id in backlog.devices.keys() {
            let entries = outbox.peek(*id, 0, usize::MAX, usize::MAX).unwrap();
            assert!(entries.iter().all(|entry| entry.readings == 2));
            let queue: Vec<_> =
                entries.into_iter().map(|entry| (entry.sequence, entry.json.to_vec())).collect();
            queues.insert(*id, queue);
        }
        queues.retain(|_, queue| !queue.is_empty());
        let mut amounts = backlog.devices;
        amounts.retain(|_, amount| *amount != Amount::default());
        assert_eq!(
            amounts.values().fold(Amount::default(), |sum, amount| sum.plus(*amount)),
            backlog.total
        );
        let ledger = outbox.ledger();
        let waiting = |(bus, account): (&tidegate_model::Name, &tidegate_model::Account)| {
            (bus.to_string(), account.waiting())
        };
        let waiting_per_bus = ledger.iter().map(waiting).filter(|(_, count)| *count > 0).collect();
        let rejects = outbox.rejects(usize::MAX).unwrap().len();
        Self { queues, amounts, waiting_per_bus, ledger, rejects }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn outbox_behaves_like_its_model(
            actions in prop::collection::vec(action(), 1..60),
            options in prop_oneof![Just(CROWDED), Just(PACKED), Just(WAITING)],
        ) {
        let mut directory = TempDir::new().unwrap();
        let mut outbox = Outbox::open(directory.path(), options).unwrap();
        let bytes_max = usize::try_from(options.bytes_max).unwrap();
        let mut model = Model { bytes_max, ..Model::default() };
        // A crash may leave the last durable model or any later one.
        let mut survivors = vec![model.clone()];
        for action in &actions {
            let is_durable = model.apply(action, &outbox);
            if is_durable {
                survivors.clear();
            }
            survivors.push(model.clone());
            match action {
                Action::Reopen => {
                    drop(outbox);
                    outbox = Outbox::open(directory.path(), options).unwrap();
                }
                Action::Crash => {
                    let copy = copy_of(directory.path());
                    drop(outbox);
                    outbox = Outbox::open(copy.path(), options).unwrap();
                    directory = copy;
                    let left = View::of(&outbox);
                    let survivor = survivors.iter().find(|one| one.view() == left);
                    prop_assert!(survivor.is_some(), "no model had this content: {:?}", left);
                    model = survivor.unwrap().clone();
                    survivors = vec![model.clone()];
                }
                Action::Append(_) | Action::Ack { .. } | Action::Reject { .. } | Action::Flush => {}
            }
            prop_assert_eq!(View::of(&outbox), model.view());
            assert_consistent(&outbox);
        }
    }
}
