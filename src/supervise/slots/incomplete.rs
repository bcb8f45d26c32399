//! Holders without a complete request, by the address of their client.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

/// Holders without a complete request, but for those that are asked to leave, oldest first for each address.
///
/// Each request of a kept connection that comes in several pieces lists its holder for a moment. So an address has a list that is linked
/// through the holders by their indices, and a change is a few writes.
pub(super) struct Incomplete {
    /// Addresses with a connection. Bounded by the slots, as everything here.
    addresses: Vec<Address>,
    vacant: Vec<usize>,
    by_address: HashMap<IpAddr, usize, foldhash::fast::RandomState>,
    /// The places of the addresses with more holders than the limit.
    over: Vec<usize>,
    links: Vec<Links>,
    /// The number of holders that an address may have.
    limit: usize,
    /// The time after which one of too many of an address can be evicted.
    pub(super) grace: Duration,
}

/// One address.
struct Address {
    address: IpAddr,
    /// Its connections, those with a complete request included.
    connections: usize,
    listed: usize,
    first: Option<usize>,
    last: Option<usize>,
}

/// The neighbors of a holder in the list of its address.
#[derive(Debug, Clone, Copy, Default)]
struct Links {
    before: Option<usize>,
    after: Option<usize>,
}

impl Incomplete {
    pub(super) fn new(limit: usize, grace: Duration) -> Self {
        Self {
            addresses: Vec::new(),
            vacant: Vec::new(),
            by_address: HashMap::default(),
            over: Vec::new(),
            links: Vec::new(),
            limit,
            grace,
        }
    }

    /// Adds a connection of an address and returns the place of the address.
    pub(super) fn enter(&mut self, address: IpAddr) -> usize {
        let fresh = Address {
            address,
            connections: 1,
            listed: 0,
            first: None,
            last: None,
        };
        if let Some(place) = self.by_address.get(&address) {
            self.addresses[*place].connections += 1;
            return *place;
        }
        let place = match self.vacant.pop() {
            Some(place) => {
                self.addresses[place] = fresh;
                place
            }
            None => {
                self.addresses.push(fresh);
                self.addresses.len() - 1
            }
        };
        self.by_address.insert(address, place);
        place
    }

    /// Removes a connection of the address at a place; its holder is not listed.
    pub(super) fn leave(&mut self, place: usize) {
        let address = &mut self.addresses[place];
        address.connections -= 1;
        if address.connections == 0 {
            self.by_address.remove(&address.address);
            self.vacant.push(place);
        }
    }

    /// Lists a holder as the youngest of its address.
    pub(super) fn push_back(&mut self, place: usize, holder: usize) {
        let before = self.addresses[place].last.replace(holder);
        let links = Links { before, after: None };
        *self.links(holder) = links;
        match before {
            Some(before) => self.links[before].after = Some(holder),
            None => self.addresses[place].first = Some(holder),
        }
        self.added(place);
    }

    /// Lists a holder as the oldest of its address.
    pub(super) fn push_front(&mut self, place: usize, holder: usize) {
        let after = self.addresses[place].first.replace(holder);
        *self.links(holder) = Links { before: None, after };
        match after {
            Some(after) => self.links[after].before = Some(holder),
            None => self.addresses[place].last = Some(holder),
        }
        self.added(place);
    }

    pub(super) fn remove(&mut self, place: usize, holder: usize) {
        let Links { before, after } = std::mem::take(&mut self.links[holder]);
        let address = &mut self.addresses[place];
        match before {
            Some(before) => self.links[before].after = after,
            None => address.first = after,
        }
        match after {
            Some(after) => self.links[after].before = before,
            None => address.last = before,
        }
        address.listed -= 1;
        if address.listed == self.limit {
            self.over.retain(|over| *over != place);
        }
    }

    /// The oldest holder of the address that has the most, if those are too many.
    pub(super) fn oldest_of_too_many(&self) -> Option<usize> {
        let place = self.over.iter().max_by_key(|place| self.addresses[**place].listed)?;
        self.addresses[*place].first
    }

    fn added(&mut self, place: usize) {
        let address = &mut self.addresses[place];
        address.listed += 1;
        if address.listed == self.limit + 1 {
            self.over.push(place);
        }
    }

    fn links(&mut self, holder: usize) -> &mut Links {
        if self.links.len() <= holder {
            self.links.resize(holder + 1, Links::default());
        }
        &mut self.links[holder]
    }
}

#[cfg(test)]
mod tests;
