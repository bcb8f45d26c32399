//! A disk in memory that fills up, fails, and loses power at any byte.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};

use super::directory::{Directory, LogFile};
use super::lock;

#[derive(Debug, Default, Clone)]
struct Inode {
    data: Vec<u8>,
    /// The data that survives a loss of power.
    synced: Vec<u8>,
}

#[derive(Debug, Default)]
struct State {
    inodes: Vec<Inode>,
    names: BTreeMap<String, usize>,
    synced_names: BTreeMap<String, usize>,
    /// Bytes written and operations made until everything stops; `None`: never.
    life: Option<u64>,
    /// Bytes that fit; `None`: any.
    capacity: Option<usize>,
    /// The operations that fail at present.
    faults: Faults,
}

/// The operations that fail at present.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Faults {
    pub(super) sync: bool,
    pub(super) truncate: bool,
    pub(super) rename: bool,
    pub(super) sync_names: bool,
}

/// The disk; clones are handles on the same one.
#[derive(Debug, Default, Clone)]
pub(super) struct FakeDisk(Arc<Mutex<State>>);

struct Handle {
    disk: FakeDisk,
    inode: usize,
}

impl State {
    /// Uses up a part of the life that is left, as much of `wanted` as there is.
    fn live(&mut self, wanted: usize) -> usize {
        let Some(life) = &mut self.life else { return wanted };
        let granted = wanted.min(usize::try_from(*life).unwrap_or(usize::MAX));
        *life -= granted as u64;
        granted
    }

    fn operate(&mut self, fault: bool) -> io::Result<()> {
        match (self.live(1), fault) {
            (0, _) => Err(io::Error::other("the plug was pulled")),
            (_, true) => Err(io::Error::other("an I/O error")),
            _ => Ok(()),
        }
    }

    fn room(&self) -> usize {
        let used: usize = self.names.values().map(|&inode| self.inodes[inode].data.len()).sum();
        self.capacity.map_or(usize::MAX, |capacity| capacity.saturating_sub(used))
    }
}

impl FakeDisk {
    pub(super) fn dies_after(self, life: u64) -> Self {
        lock(&self.0).life = Some(life);
        self
    }

    pub(super) fn is_dead(&self) -> bool {
        lock(&self.0).life == Some(0)
    }

    pub(super) fn set_capacity(&self, capacity: Option<usize>) {
        lock(&self.0).capacity = capacity;
    }

    pub(super) fn set_faults(&self, faults: Faults) {
        lock(&self.0).faults = faults;
    }

    /// The bytes of all files.
    pub(super) fn used(&self) -> usize {
        let state = lock(&self.0);
        state.names.values().map(|&inode| state.inodes[inode].data.len()).sum()
    }

    pub(super) fn put(&self, name: &str, data: &[u8]) {
        let mut state = lock(&self.0);
        let inode = Inode {
            data: data.to_vec(),
            synced: data.to_vec(),
        };
        let at = state.inodes.len();
        state.inodes.push(inode);
        state.names.insert(name.to_owned(), at);
        state.synced_names.insert(name.to_owned(), at);
    }

    /// The disk as the next process finds it after this one was killed.
    pub(super) fn after_kill(&self) -> Self {
        let after = Self::default();
        let state = lock(&self.0);
        for (name, &inode) in &state.names {
            after.put(name, &state.inodes[inode].data);
        }
        after
    }

    /// The disk after a loss of power: what was synced, and some bytes of the rest, chosen by `luck`.
    pub(super) fn after_power_loss(&self, mut luck: u64) -> Self {
        let after = Self::default();
        let state = lock(&self.0);
        let names = if luck.is_multiple_of(2) {
            &state.names
        } else {
            &state.synced_names
        };
        for (name, &inode) in names {
            let Inode { data, synced } = &state.inodes[inode];
            let mut found = synced.clone();
            if data.len() > synced.len() {
                let reached = synced.len() + usize::try_from(luck / 2).unwrap_or(0) % (data.len() - synced.len() + 1);
                for &byte in &data[synced.len()..reached] {
                    luck = luck.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    found.push(if luck >> 60 == 0 { 0 } else { byte });
                }
            }
            after.put(name, &found);
        }
        after
    }
}

impl Directory for FakeDisk {
    fn show(&self, name: &str) -> String {
        name.to_owned()
    }

    fn names(&self) -> io::Result<Vec<String>> {
        Ok(lock(&self.0).names.keys().cloned().collect())
    }

    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        let state = lock(&self.0);
        Ok(state.names.get(name).map(|&inode| state.inodes[inode].data.clone()))
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn LogFile>> {
        let mut state = lock(&self.0);
        state.operate(false)?;
        let inode = state.inodes.len();
        state.inodes.push(Inode::default());
        state.names.insert(name.to_owned(), inode);
        let disk = self.clone();
        Ok(Box::new(Handle { disk, inode }))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn LogFile>> {
        let inode = lock(&self.0).names[name];
        let disk = self.clone();
        Ok(Box::new(Handle { disk, inode }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = lock(&self.0);
        let fault = state.faults.rename;
        state.operate(fault)?;
        let inode = state.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
        state.names.insert(to.to_owned(), inode);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = lock(&self.0);
        state.operate(false)?;
        state.names.remove(name);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = lock(&self.0);
        let fault = state.faults.sync_names;
        state.operate(fault)?;
        state.synced_names = state.names.clone();
        Ok(())
    }
}

impl LogFile for Handle {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut state = lock(&self.disk.0);
        let lived = state.live(bytes.len());
        let fits = lived.min(state.room());
        state.inodes[self.inode].data.extend_from_slice(&bytes[..fits]);
        match fits {
            fits if fits == bytes.len() => Ok(()),
            fits if fits < lived => Err(io::ErrorKind::StorageFull.into()),
            _ => Err(io::Error::other("the plug was pulled")),
        }
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut state = lock(&self.disk.0);
        let fault = state.faults.sync;
        state.operate(fault)?;
        let inode = &mut state.inodes[self.inode];
        inode.synced.clone_from(&inode.data);
        Ok(())
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        let mut state = lock(&self.disk.0);
        let fault = state.faults.truncate;
        state.operate(fault)?;
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        state.inodes[self.inode].data.truncate(len);
        Ok(())
    }
}
