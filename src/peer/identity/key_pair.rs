//! The identity of a peer: an Ed25519 key pair derived from a seed of 32 bytes, stored in a file that other users cannot read.

use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use nix::fcntl::{AT_FDCWD, AtFlags, OFlag};
use nix::unistd::linkat;
use ring::hmac;
use ring::rand::{SecureRandom as _, SystemRandom};
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use rustls::crypto::ring::sign::any_eddsa_type;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;

use super::PublicKey;
use super::key::{InvalidKey, read_32_bytes, write_hex};
use crate::supervise::files::{create_directory, parent, sync_directory};
use crate::supervise::secret_file::{self, FileRule, SecretFileError};

/// The bytes before the 32 bytes of an Ed25519 seed in PKCS#8 (RFC 8410, 7).
const PKCS8_PREFIX: [u8; 16] = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
/// The bytes before the 32 bytes of an Ed25519 key in a SubjectPublicKeyInfo (RFC 8410, 4).
const SPKI_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 3, 0x21, 0];

/// The error of loading or creating an identity.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// Reading the file failed, or other users can read or change it.
    #[error("cannot read key file {}: {why}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The reason.
        why: SecretFileError,
    },
    /// Creating the file failed. An existing file is never overwritten.
    #[error("cannot create key file {}: {why}", .path.display())]
    Create {
        /// The file.
        path: PathBuf,
        /// The error of the system.
        why: io::Error,
    },
    /// The file does not contain a seed.
    #[error("key file {}: {why}", .path.display())]
    InvalidSeed {
        /// The file.
        path: PathBuf,
        /// The expected format.
        why: InvalidKey,
    },
    /// The system has no randomness.
    #[error("the system has no random numbers")]
    NoRandomness,
    /// The TLS library does not accept the key.
    #[error("the key cannot be used: {0}")]
    Unusable(String),
}

impl IdentityError {
    /// Returns true if the file does not exist.
    #[must_use]
    pub fn is_missing_file(&self) -> bool {
        matches!(self, Self::Read { why: SecretFileError::Io(why), .. } if why.kind() == ErrorKind::NotFound)
    }
}

/// The seed of an identity. Its Debug form is masked.
#[derive(Clone, PartialEq, Eq)]
pub struct Seed([u8; 32]);

impl Seed {
    /// Generates a seed.
    ///
    /// # Errors
    ///
    /// If the system has no randomness.
    pub fn random() -> Result<Self, IdentityError> {
        let mut bytes = [0; 32];
        SystemRandom::new().fill(&mut bytes).map_err(|_| IdentityError::NoRandomness)?;
        Ok(Self(bytes))
    }
}

impl FromStr for Seed {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        read_32_bytes(text).map(Self)
    }
}

impl fmt::Debug for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MASKED")
    }
}

/// A key pair for TLS. A clone is a handle to the same key pair.
#[derive(Clone)]
pub struct Identity {
    public: PublicKey,
    certified: Arc<CertifiedKey>,
    seed: Seed,
}

impl Identity {
    /// Derives the identity from a seed.
    ///
    /// # Errors
    ///
    /// If the TLS library does not accept the key, which happens for no seed.
    pub fn from_seed(seed: &Seed) -> Result<Self, IdentityError> {
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed.0).map_err(|e| IdentityError::Unusable(e.to_string()))?;
        let bytes = pair.public_key().as_ref().try_into();
        let public = PublicKey::new(bytes.map_err(|_| IdentityError::Unusable("it does not have 32 bytes".to_owned()))?);
        let pkcs8 = [&PKCS8_PREFIX[..], &seed.0].concat();
        let signing = any_eddsa_type(&PrivatePkcs8KeyDer::from(pkcs8)).map_err(|e| IdentityError::Unusable(e.to_string()))?;
        // A raw public key (RFC 7250) takes the place of a certificate.
        let spki = [&SPKI_PREFIX[..], public.as_bytes()].concat();
        Ok(Self {
            public,
            certified: Arc::new(CertifiedKey::new(vec![CertificateDer::from(spki)], signing)),
            seed: seed.clone(),
        })
    }

    /// Generates an identity for one run.
    ///
    /// # Errors
    ///
    /// As [`Seed::random`].
    pub fn ephemeral() -> Result<Self, IdentityError> {
        Self::from_seed(&Seed::random()?)
    }

    /// Loads the identity from a file, or creates the file if it does not exist.
    ///
    /// # Errors
    ///
    /// As [`Identity::load`] and [`Identity::create`].
    pub fn load_or_create(path: &Path) -> Result<Self, IdentityError> {
        match Self::load(path) {
            Err(error) if error.is_missing_file() => {}
            found => return found,
        }
        match Self::create(path) {
            Ok(made) => {
                let shown = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
                tracing::info!(key = %made.public, "created a new key in {}", shown.display());
                Ok(made)
            }
            // Another process created the file in between; its key is used.
            Err(IdentityError::Create { why, .. }) if why.kind() == ErrorKind::AlreadyExists => Self::load(path),
            made => made,
        }
    }

    /// Loads the identity from a file.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, contains no seed, or has permissions that [`FileRule::Key`] forbids.
    pub fn load(path: &Path) -> Result<Self, IdentityError> {
        let text = secret_file::read(path, FileRule::Key).map_err(|why| IdentityError::Read {
            path: path.to_owned(),
            why,
        })?;
        let seed = text.parse().map_err(|why| IdentityError::InvalidSeed {
            path: path.to_owned(),
            why,
        })?;
        Self::from_seed(&seed)
    }

    /// Generates an identity and writes it to a new file of mode 0600; creates missing directories.
    ///
    /// # Errors
    ///
    /// If the file exists or cannot be written.
    pub fn create(path: &Path) -> Result<Self, IdentityError> {
        let seed = Seed::random()?;
        write_new(path, &seed).map_err(|why| IdentityError::Create {
            path: path.to_owned(),
            why,
        })?;
        Self::from_seed(&seed)
    }

    /// Returns the public key.
    #[must_use]
    pub fn public_key(&self) -> PublicKey {
        self.public
    }

    pub(crate) fn certified(&self) -> Arc<CertifiedKey> {
        self.certified.clone()
    }

    /// Returns the seed, from which other libraries create their key pair.
    #[cfg(any(feature = "hyperdht", feature = "bitswap"))]
    pub(crate) fn seed(&self) -> [u8; 32] {
        self.seed.0
    }

    /// Derives a key for a purpose within this program, the same in every run: a restarted program can reset the connections of its last
    /// run.
    pub(crate) fn derive(&self, purpose: &str) -> [u8; 32] {
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &self.seed.0), purpose.as_bytes());
        let mut key = [0; 32];
        key.copy_from_slice(tag.as_ref());
        key
    }

    /// Derives an identity for a purpose within this program, the same in every run. The two public keys do not reveal that they belong
    /// together.
    ///
    /// # Errors
    ///
    /// As [`Identity::from_seed`].
    #[cfg(feature = "hyperdht")]
    pub(crate) fn derived(&self, purpose: &str) -> Result<Self, IdentityError> {
        Self::from_seed(&Seed(self.derive(purpose)))
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({})", self.public)
    }
}

/// Writes a key file, which gets its name when it is complete and on the disk: a file that a killed program had begun would make every
/// later start fail.
fn write_new(path: &Path, seed: &Seed) -> io::Result<()> {
    let directory = parent(path);
    if !directory.exists() {
        create_directory(&directory, 0o700)?;
    }
    let text = format!("{}\n", write_hex(&seed.0));
    match write_unnamed(&directory, path, &text) {
        Err(why) if has_no_unnamed_files(&why) => write_named(path, &text),
        done => done,
    }?;
    sync_directory(&directory)
}

/// Writes a file without a name, which the system removes if the program ends, and names it.
fn write_unnamed(directory: &Path, path: &Path, text: &str) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).mode(0o600).custom_flags(OFlag::O_TMPFILE.bits());
    let mut file = options.open(directory)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    let unnamed = format!("/proc/self/fd/{}", file.as_raw_fd());
    Ok(linkat(AT_FDCWD, unnamed.as_str(), AT_FDCWD, path, AtFlags::AT_SYMLINK_FOLLOW)?)
}

/// Returns true for the errors of [`write_unnamed`] where the file system has no files without a name (NFS, old overlay file systems), or
/// `/proc` is not mounted.
fn has_no_unnamed_files(why: &io::Error) -> bool {
    matches!(
        why.kind(),
        ErrorKind::Unsupported | ErrorKind::IsADirectory | ErrorKind::InvalidInput | ErrorKind::NotFound | ErrorKind::CrossesDevices
    )
}

/// Writes a file that has its name from the start.
fn write_named(path: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
    if written.is_err() {
        // A truncated key file would make the next start fail; if it cannot be removed, that start reports it.
        let _ = fs::remove_file(path);
    }
    written
}

/// Returns the key in a SubjectPublicKeyInfo, if it is an Ed25519 key.
pub(crate) fn key_of(spki: &[u8]) -> Option<PublicKey> {
    let bytes = spki.strip_prefix(&SPKI_PREFIX)?;
    Some(PublicKey::new(bytes.try_into().ok()?))
}

/// Returns the default path of a key file: in `$STATE_DIRECTORY` (set by systemd), else `$XDG_STATE_HOME/exporter-proxy`, else
/// `~/.local/state/exporter-proxy`. `variable` reads an environment variable.
#[must_use]
pub fn default_key_file(name: &str, variable: impl Fn(&str) -> Option<String>) -> Option<PathBuf> {
    let set = |key: &str| variable(key).filter(|value| !value.is_empty()).map(PathBuf::from);
    // systemd sets a list for a service with several state directories.
    let first = |list: PathBuf| list.to_str().and_then(|list| list.split(':').next()).map(PathBuf::from);
    let folder = set("STATE_DIRECTORY")
        .and_then(first)
        .or_else(|| Some(set("XDG_STATE_HOME")?.join("exporter-proxy")))
        .or_else(|| Some(set("HOME")?.join(".local/state/exporter-proxy")))?;
    Some(folder.join(name))
}

#[cfg(test)]
mod tests;
