use proptest::prelude::*;

use super::*;

const LIMIT: usize = 3;

impl Incomplete {
    /// Returns true if nothing is left of any connection.
    pub(in crate::supervise::slots) fn is_empty(&self) -> bool {
        self.by_address.is_empty() && self.over.is_empty() && self.vacant.len() == self.addresses.len()
    }
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Back(usize),
    Front(usize),
    Remove(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = (0..3, 0..24_usize).prop_map(|(kind, holder)| match kind {
        0 => Step::Back(holder),
        1 => Step::Front(holder),
        _ => Step::Remove(holder),
    });
    prop::collection::vec(step, 0..200)
}

proptest! {
    /// The lists are those of a plain model: each address has its holders in order.
    #[test]
    fn the_oldest_of_the_address_with_the_most_is_found(steps in steps()) {
        let mut incomplete = Incomplete::new(LIMIT, Duration::ZERO);
        let places: Vec<usize> = (0..24_u8).map(|holder| incomplete.enter(IpAddr::from([10, 0, 0, holder % 4]))).collect();
        let mut model: HashMap<usize, Vec<usize>> = HashMap::new();
        for step in steps {
            let (Step::Back(holder) | Step::Front(holder) | Step::Remove(holder)) = step;
            let held = model.entry(places[holder]).or_default();
            match (step, held.iter().position(|held| *held == holder)) {
                (Step::Back(_), None) => {
                    held.push(holder);
                    incomplete.push_back(places[holder], holder);
                }
                (Step::Front(_), None) => {
                    held.insert(0, holder);
                    incomplete.push_front(places[holder], holder);
                }
                (Step::Remove(_), Some(at)) => {
                    held.remove(at);
                    incomplete.remove(places[holder], holder);
                }
                _ => {}
            }
            let most = model.values().map(Vec::len).max().filter(|most| *most > LIMIT);
            let oldest: Vec<usize> = model.values().filter(|held| Some(held.len()) == most).map(|held| held[0]).collect();
            prop_assert_eq!(incomplete.oldest_of_too_many().is_some(), most.is_some());
            prop_assert!(incomplete.oldest_of_too_many().is_none_or(|found| oldest.contains(&found)));
        }
        for (holder, place) in places.iter().enumerate() {
            if model.get(place).is_some_and(|held| held.contains(&holder)) {
                incomplete.remove(*place, holder);
            }
            incomplete.leave(*place);
        }
        prop_assert!(incomplete.is_empty());
    }
}
