//! The subject alternative names of a certificate (RFC 5280, 4.2.1.6), as texts.

use std::net::{Ipv4Addr, Ipv6Addr};

/// DER tags.
const SEQUENCE: u8 = 0x30;
const OBJECT_IDENTIFIER: u8 = 0x06;
const BOOLEAN: u8 = 0x01;
const OCTET_STRING: u8 = 0x04;
/// `[3]`, the extensions of a certificate.
const EXTENSIONS: u8 = 0xa3;
/// `[1]`, `[2]` and `[6]`, names that are texts: e-mail address, DNS name, URI.
const TEXTS: [u8; 3] = [0x81, 0x82, 0x86];
/// `[7]`, an IP address.
const ADDRESS: u8 = 0x87;

/// 2.5.29.17, subjectAltName.
const SUBJECT_ALT_NAME: [u8; 3] = [0x55, 0x1d, 0x11];

/// Returns the DNS names, e-mail addresses, URIs and IP addresses of a certificate; none if it is malformed.
pub(in crate::http) fn subject_alt_names(certificate: &[u8]) -> Option<Vec<String>> {
    let mut outer = Der(expect(&mut Der(certificate), SEQUENCE)?);
    let mut fields = Der(expect(&mut outer, SEQUENCE)?);
    while let Some((tag, content)) = fields.next()? {
        if tag == EXTENSIONS {
            return names_in(expect(&mut Der(content), SEQUENCE)?);
        }
    }
    Some(Vec::new())
}

fn names_in(extensions: &[u8]) -> Option<Vec<String>> {
    let mut names = Vec::new();
    let mut extensions = Der(extensions);
    while let Some((SEQUENCE, content)) = extensions.next()? {
        let mut extension = Der(content);
        let id = expect(&mut extension, OBJECT_IDENTIFIER)?;
        let value = match extension.next()?? {
            (BOOLEAN, _critical) => expect(&mut extension, OCTET_STRING)?,
            (OCTET_STRING, value) => value,
            _ => return None,
        };
        if id != SUBJECT_ALT_NAME {
            continue;
        }
        let mut list = Der(expect(&mut Der(value), SEQUENCE)?);
        while let Some((tag, name)) = list.next()? {
            match tag {
                _ if TEXTS.contains(&tag) => names.push(String::from_utf8(name.to_vec()).ok()?),
                ADDRESS => names.push(address(name)?),
                _ => {}
            }
        }
    }
    Some(names)
}

fn address(bytes: &[u8]) -> Option<String> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Some(Ipv4Addr::from(v4).to_string());
    }
    let v6 = Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?);
    Some(v6.to_canonical().to_string())
}

/// Elements of DER one after another.
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    /// The next element's tag and content. `Some(None)` at the end, `None` if it is malformed.
    fn next(&mut self) -> Option<Option<(u8, &'a [u8])>> {
        let Some((&tag, rest)) = self.0.split_first() else {
            return Some(None);
        };
        let (&first, rest) = rest.split_first()?;
        let (length, rest) = match first {
            0..=0x7f => (usize::from(first), rest),
            // Four bytes of length are more than any certificate has.
            0x81..=0x84 => {
                let (length, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
                (length.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)), rest)
            }
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some(Some((tag, content)))
    }
}

/// The content of the next element, if it has this tag.
fn expect<'a>(der: &mut Der<'a>, tag: u8) -> Option<&'a [u8]> {
    der.next()?.filter(|(found, _)| *found == tag).map(|(_, content)| content)
}

#[cfg(test)]
mod tests;
