//! The `Authorization` header of a poll.

use std::path::PathBuf;

use http::HeaderValue;

use super::error::PollError;
use super::files;
use super::settings::{Credentials, Password};

/// The header's value, from the current content of the files.
pub(super) async fn header(credentials: Option<&Credentials>) -> Result<Option<HeaderValue>, PollError> {
    let (text, file) = match credentials {
        None => return Ok(None),
        Some(Credentials::BearerFile(path)) => (format!("Bearer {}", files::read_secret(path).await?), path.clone()),
        Some(Credentials::HeaderFile(path)) => (scheme_and_token(files::read_secret(path).await?), path.clone()),
        Some(Credentials::Basic { username, password }) => {
            let (password, file) = match password {
                Password::Given(password) => (password.to_string(), PathBuf::new()),
                Password::File(path) => (files::read_secret(path).await?, path.clone()),
            };
            (format!("Basic {}", base64(format!("{username}:{password}").as_bytes())), file)
        }
    };
    let mut value = HeaderValue::try_from(text).map_err(|_| PollError::File {
        path: file,
        why: "a token must not contain line breaks or control characters".to_owned(),
    })?;
    value.set_sensitive(true);
    Ok(Some(value))
}

/// The header's value in a file: a word alone is a bearer token, as a scheme and its token are two.
fn scheme_and_token(text: String) -> String {
    if text.contains(' ') { text } else { format!("Bearer {text}") }
}

/// Base 64 with padding (RFC 4648, section 4).
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let byte = |at: usize| u32::from(group.get(at).copied().unwrap_or_default());
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for digit in 0..4_usize {
            let index = (bits >> (18 - 6 * digit)) & 63;
            out.push(if digit <= group.len() {
                char::from(ALPHABET[index as usize])
            } else {
                '='
            });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn base_64_as_in_the_examples_of_its_rfc() {
        let expected = ["", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy"];
        for (length, expected) in expected.into_iter().enumerate() {
            assert_eq!(base64(&b"foobar"[..length]), expected);
        }
        assert_eq!(base64(&[0xfb, 0xff, 0xfe]), "+//+");
    }

    #[tokio::test]
    async fn files_are_read_each_time_and_never_printed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let bearer = Credentials::BearerFile(path.clone());
        assert!(header(Some(&bearer)).await.unwrap_err().to_string().contains("token"));
        for token in ["one", "two"] {
            std::fs::write(&path, format!("{token}\n")).unwrap();
            let value = header(Some(&bearer)).await.unwrap().unwrap();
            assert_eq!(value, format!("Bearer {token}"));
            assert!(!format!("{value:?}").contains(token));
        }
        std::fs::write(&path, "in\njected: x").unwrap();
        let error = header(Some(&bearer)).await.unwrap_err().to_string();
        assert!(error.contains("line breaks") && !error.contains("jected"), "{error}");
        std::fs::write(&path, " \n").unwrap();
        assert!(header(Some(&bearer)).await.unwrap_err().to_string().contains("empty"));
        let folder = Credentials::BearerFile(folder.path().to_owned());
        assert!(header(Some(&folder)).await.unwrap_err().to_string().contains("not a regular file"));
    }

    #[tokio::test]
    async fn a_header_file_may_name_its_scheme() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rpc");
        for (text, expected) in [("token\n", "Bearer token"), ("Basic dTpw\n", "Basic dTpw")] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(
                header(Some(&Credentials::HeaderFile(path.clone()))).await.unwrap().unwrap(),
                expected
            );
        }
    }

    #[tokio::test]
    async fn a_user_name_and_a_password_are_joined() {
        let basic = Credentials::Basic {
            username: "Aladdin".to_owned(),
            password: Password::Given("open sesame".into()),
        };
        assert_eq!(header(Some(&basic)).await.unwrap().unwrap(), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
    }
}
