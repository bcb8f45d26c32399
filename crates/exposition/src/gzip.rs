//! One gzip member (RFC 1952) joined from pieces that were deflated apart (RFC 1951).
//!
//! Several members in a row are legal, yet curl, reqwest and httpx stop at the end of the first. So each piece is raw deflate data that
//! ends on a byte boundary and is not marked final; a header goes before them, and an empty final block, the combined checksum and the
//! length go after them. Nothing is compressed again when the parts of a response are put together.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use crc32fast::Hasher;
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use crate::memory::MemoryMeter;

/// The most that one stored block of deflate data holds: its length has 16 bits.
const MAX_STORED_BLOCK: usize = 0xFFFF;

/// Gzip header: magic, deflate, no flags, no time, no hint, unknown operating system.
const HEADER: [u8; 10] = [0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 0xFF];

/// A final block with nothing in it: fixed Huffman codes and an end-of-block symbol.
const FINAL_BLOCK: [u8; 2] = [0x03, 0x00];

/// The header of a stored block that is as long as such a block can be.
const FULL_BLOCK_HEADER: [u8; 5] = [0, 0xFF, 0xFF, 0, 0];

/// Compressors kept for the next responses, at 300 kB each; more than four are rarely used at the same time.
const MAX_SPARE_COMPRESSORS: usize = 4;

/// Below this many bytes a slice is copied together with its neighbours when a piece is [condensed](Piece::condensed).
const SMALL_SLICE: usize = 16 * 1024;

/// Part of a gzip body: deflate data that can be followed by any other piece.
#[derive(Debug, Clone)]
pub struct Piece {
    /// Shared by all bodies that contain the piece.
    deflated: Arc<Vec<Bytes>>,
    deflated_len: u64,
    checksum: Hasher,
    len: u64,
}

/// Compression level of a piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CompressionLevel {
    /// Level 3, inside a scrape. It takes about as long as level 1 and gives three quarters of its size.
    Fast,
    /// Level 6, for text that has not changed for some time.
    Small,
}

/// The memory of a compressor, some 300 kB for each level, kept between pieces: setting it up costs about as much as deflating 20 kB.
#[derive(Debug, Default)]
pub struct Compressor {
    fast: Option<Compress>,
    small: Option<Compress>,
    output: Vec<u8>,
}

impl Compressor {
    /// A compressor that allocates its memory on first use.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Frees the memory until the next use.
    pub fn rest(&mut self) {
        *self = Self::default();
    }

    fn state(&mut self, level: CompressionLevel) -> (&mut Compress, &mut Vec<u8>) {
        let (slot, zlib_level) = match level {
            CompressionLevel::Fast => (&mut self.fast, Compression::new(3)),
            CompressionLevel::Small => (&mut self.small, Compression::new(6)),
        };
        let state = slot.get_or_insert_with(|| Compress::new(zlib_level, false));
        state.reset();
        self.output.clear();
        (state, &mut self.output)
    }
}

/// Compressors for several threads: each use takes one out and puts it back.
#[derive(Debug, Default)]
pub struct CompressorPool(Mutex<Vec<Compressor>>);

impl CompressorPool {
    /// Calls `work` with a compressor of the pool.
    pub fn with<T>(&self, work: impl FnOnce(&mut Compressor) -> T) -> T {
        let spare = self.spare().pop();
        let mut compressor = spare.unwrap_or_default();
        let result = work(&mut compressor);
        let mut spare = self.spare();
        if spare.len() < MAX_SPARE_COMPRESSORS {
            spare.push(compressor);
        }
        result
    }

    /// Frees the memory of compressors that are not in use.
    pub fn clear(&self) {
        let spare = std::mem::take(&mut *self.spare());
        drop(spare);
    }

    fn spare(&self) -> MutexGuard<'_, Vec<Compressor>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Piece {
    /// Deflates `text`, which may come in several slices.
    #[must_use]
    pub fn compress(text: &[Bytes], level: CompressionLevel, with: &mut Compressor) -> Self {
        let (state, output) = with.state(level);
        for slice in text {
            deflate(state, slice, FlushCompress::None, output);
        }
        deflate(state, &[], FlushCompress::Sync, output);
        let deflated = Bytes::copy_from_slice(output);
        Self {
            deflated_len: deflated.len() as u64,
            deflated: Arc::new(vec![deflated]),
            checksum: checksum(text),
            len: length(text),
        }
    }

    /// Returns the piece with its bytes counted by `meter` while they are held.
    #[must_use]
    pub fn metered(mut self, meter: &MemoryMeter) -> Self {
        let held = self.deflated.iter().map(|bytes| meter.hold(bytes.clone())).collect();
        self.deflated = Arc::new(held);
        self
    }

    /// Wraps `text` in stored blocks, without compressing or copying it: the larger form of a piece that is not compressed yet.
    #[must_use]
    pub fn stored(text: &[Bytes]) -> Self {
        let len = length(text);
        let (mut deflated, mut left, mut in_block) = (Vec::new(), len, 0);
        for slice in text {
            let mut slice = slice.clone();
            while !slice.is_empty() {
                if in_block == 0 {
                    in_block = usize::try_from(left).map_or(MAX_STORED_BLOCK, |left| left.min(MAX_STORED_BLOCK));
                    deflated.push(stored_block_header(in_block));
                }
                let taken = slice.split_to(slice.len().min(in_block));
                in_block -= taken.len();
                left -= taken.len() as u64;
                deflated.push(taken);
            }
        }
        Self {
            deflated_len: length(&deflated),
            deflated: Arc::new(deflated),
            checksum: checksum(text),
            len,
        }
    }

    /// Joins pieces into one. Appending a piece costs a third of a microsecond for the checksum, so pieces that stay unchanged are
    /// joined once.
    #[must_use]
    pub fn concat<'a>(pieces: impl IntoIterator<Item = &'a Self>) -> Self {
        let mut whole = Self::nothing();
        pieces.into_iter().for_each(|piece| whole.append(piece));
        whole
    }

    /// Returns the piece in few slices. A compressed segment has some kilobytes, and sending a hundred such slices takes several times as
    /// long as sending one slice of the same total length. Useful for pieces that are sent more than once.
    #[must_use]
    pub fn condensed(mut self) -> Self {
        if self.deflated.len() == 1 {
            return self;
        }
        let (mut slices, mut small) = (Vec::new(), Vec::new());
        let flush = |small: &mut Vec<u8>, slices: &mut Vec<Bytes>| {
            if !small.is_empty() {
                slices.push(Bytes::copy_from_slice(small));
                small.clear();
            }
        };
        for slice in self.deflated.iter() {
            if slice.len() < SMALL_SLICE {
                small.extend_from_slice(slice);
            } else {
                flush(&mut small, &mut slices);
                slices.push(slice.clone());
            }
        }
        flush(&mut small, &mut slices);
        self.deflated = Arc::new(slices);
        self
    }

    fn nothing() -> Self {
        Self {
            deflated: Arc::default(),
            deflated_len: 0,
            checksum: Hasher::new(),
            len: 0,
        }
    }

    fn append(&mut self, piece: &Self) {
        Arc::make_mut(&mut self.deflated).extend_from_slice(&piece.deflated);
        self.deflated_len += piece.deflated_len;
        self.checksum.combine(&piece.checksum);
        self.len += piece.len;
    }

    /// The text that it stands for, inflated.
    pub(crate) fn inflate(&self) -> Bytes {
        let len = usize::try_from(self.len).expect("a piece is made of text in memory");
        let (mut state, mut text) = (Decompress::new(false), Vec::with_capacity(len));
        for slice in self.deflated.iter() {
            let start = state.total_in();
            // The end of a piece is a block without content, which is not read once all text is there.
            while text.len() < len {
                let taken = usize::try_from(state.total_in() - start).expect("no more is taken than was offered");
                if taken == slice.len() {
                    break;
                }
                match state.decompress_vec(&slice[taken..], &mut text, FlushDecompress::None) {
                    Ok(Status::Ok | Status::BufError) => {}
                    Ok(Status::StreamEnd) | Err(_) => unreachable!("a piece holds what a compressor made, without a last block"),
                }
            }
        }
        text.into()
    }

    /// The length of the text that it stands for, in bytes.
    #[must_use]
    pub fn text_len(&self) -> u64 {
        self.len
    }

    /// Its length inside a gzip body, in bytes.
    #[must_use]
    pub fn deflated_len(&self) -> u64 {
        self.deflated_len
    }
}

/// Puts pieces together to one gzip member, as rows of slices: what pieces hold is shared and not listed again.
#[must_use]
pub fn join<'a>(pieces: impl IntoIterator<Item = &'a Piece>) -> Vec<Arc<Vec<Bytes>>> {
    let mut rows = vec![Arc::new(vec![Bytes::from_static(&HEADER)])];
    let mut joiner = Joiner::default();
    for piece in pieces {
        rows.push(Arc::clone(&piece.deflated));
        joiner.count(piece);
    }
    rows.push(Arc::new(vec![joiner.trailer()]));
    rows
}

/// Joins pieces to one gzip member as they are made, for a body that is never in memory as a whole.
#[derive(Debug, Default)]
pub struct Joiner {
    begun: bool,
    checksum: Hasher,
    len: u64,
}

impl Joiner {
    /// The bytes of the next piece, behind the header of the member if it is the first.
    pub fn push(&mut self, piece: &Piece) -> Vec<Bytes> {
        let header = (!std::mem::replace(&mut self.begun, true)).then_some(Bytes::from_static(&HEADER));
        self.count(piece);
        header.into_iter().chain(piece.deflated.iter().cloned()).collect()
    }

    /// The end of the member, after at least one piece.
    pub fn finish(&mut self) -> Bytes {
        std::mem::take(self).trailer()
    }

    fn count(&mut self, piece: &Piece) {
        self.checksum.combine(&piece.checksum);
        self.len += piece.len;
    }

    fn trailer(self) -> Bytes {
        let mut trailer = Vec::with_capacity(10);
        trailer.extend_from_slice(&FINAL_BLOCK);
        trailer.extend_from_slice(&self.checksum.finalize().to_le_bytes());
        trailer.extend_from_slice(&self.len.to_le_bytes()[..4]);
        trailer.into()
    }
}

/// Feeds `input` to the compressor; with `FlushCompress::Sync` everything fed so far comes out and the output ends on a byte boundary.
fn deflate(state: &mut Compress, mut input: &[u8], flush: FlushCompress, output: &mut Vec<u8>) {
    /// Room offered to the compressor at a time: a segment seldom deflates to more.
    const ROOM: usize = 32 * 1024;
    loop {
        output.reserve(ROOM);
        let before = state.total_in();
        let status = state.compress_vec(input, output, flush);
        let taken = usize::try_from(state.total_in() - before).expect("no more is taken than was offered");
        input = &input[taken..];
        let room_left = output.len() < output.capacity();
        match status {
            // A flush is complete once the compressor leaves room unused.
            Ok(Status::Ok | Status::BufError) if input.is_empty() && room_left => return,
            Ok(Status::Ok | Status::BufError) => {}
            Ok(Status::StreamEnd) | Err(_) => unreachable!("a deflate stream that is never finished cannot end or fail"),
        }
    }
}

fn stored_block_header(len: usize) -> Bytes {
    match u16::try_from(len) {
        Ok(u16::MAX) => Bytes::from_static(&FULL_BLOCK_HEADER),
        Ok(len) => {
            let ([a, b], [c, d]) = (len.to_le_bytes(), (!len).to_le_bytes());
            Bytes::copy_from_slice(&[0, a, b, c, d])
        }
        Err(_) => unreachable!("a stored block has at most 65,535 bytes"),
    }
}

fn length(text: &[Bytes]) -> u64 {
    text.iter().map(|slice| slice.len() as u64).sum()
}

fn checksum(text: &[Bytes]) -> Hasher {
    let mut hasher = Hasher::new();
    for slice in text {
        hasher.update(slice);
    }
    hasher
}

#[cfg(test)]
mod tests;
