//! The bytes that hosts keep in their projects.

use std::path::{Path, PathBuf};

/// The plugin's part of a project.
#[derive(Clone, Debug, PartialEq)]
pub struct Saved {
    pub wet: f64,
    pub path: Option<PathBuf>,
}

const MAGIC: &[u8; 4] = b"SLCL";
const VERSION: u32 = 1;
const HEADER: usize = 20;
/// Longer than any path that a system takes.
const MAX_PATH: usize = 1 << 16;

impl Saved {
    /// Magic, version, wet, length of the path, path.
    pub fn to_bytes(&self) -> Vec<u8> {
        let path = self.path.as_deref().map_or(&[][..], path_bytes);
        let mut out = MAGIC.to_vec();
        out.extend(VERSION.to_le_bytes());
        out.extend(self.wet.to_le_bytes());
        out.extend((path.len() as u32).to_le_bytes());
        out.extend(path);
        out
    }

    /// None for bytes of something else.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let number = |from: usize| {
            Some(u32::from_le_bytes(
                bytes.get(from..from + 4)?.try_into().ok()?,
            ))
        };
        let len = number(16)? as usize;
        let path = bytes.get(HEADER..)?;
        if !bytes.starts_with(MAGIC) || number(4)? != VERSION || path.len() != len || len > MAX_PATH
        {
            return None;
        }
        let wet = f64::from_le_bytes(bytes[8..16].try_into().ok()?);
        Some(Saved {
            wet: if (0.0..=1.0).contains(&wet) {
                wet
            } else {
                return None;
            },
            path: (!path.is_empty()).then(|| path_from(path)).flatten(),
        })
    }

    /// Bytes that no saved state exceeds.
    pub const fn max_bytes() -> usize {
        HEADER + MAX_PATH
    }
}

#[cfg(unix)]
fn path_bytes(path: &Path) -> &[u8] {
    std::os::unix::ffi::OsStrExt::as_bytes(path.as_os_str())
}

#[cfg(not(unix))]
fn path_bytes(path: &Path) -> &[u8] {
    path.to_str().unwrap_or("").as_bytes()
}

#[cfg(unix)]
fn path_from(bytes: &[u8]) -> Option<PathBuf> {
    let text: &std::ffi::OsStr = std::os::unix::ffi::OsStrExt::from_bytes(bytes);
    Some(PathBuf::from(text))
}

#[cfg(not(unix))]
fn path_from(bytes: &[u8]) -> Option<PathBuf> {
    std::str::from_utf8(bytes).ok().map(PathBuf::from)
}
