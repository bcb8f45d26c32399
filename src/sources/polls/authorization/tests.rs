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
    assert!(
        header(Some(&bearer), FileRule::Lenient)
            .await
            .unwrap_err()
            .to_string()
            .contains("token")
    );
    for token in ["one", "two"] {
        std::fs::write(&path, format!("{token}\n")).unwrap();
        let value = header(Some(&bearer), FileRule::Lenient).await.unwrap().unwrap();
        assert_eq!(value, format!("Bearer {token}"));
        assert!(!format!("{value:?}").contains(token));
    }
    std::fs::write(&path, "in\njected: x").unwrap();
    let error = header(Some(&bearer), FileRule::Lenient).await.unwrap_err().to_string();
    assert!(error.contains("line breaks") && !error.contains("jected"), "{error}");
    std::fs::write(&path, " \n").unwrap();
    assert!(
        header(Some(&bearer), FileRule::Lenient)
            .await
            .unwrap_err()
            .to_string()
            .contains("empty")
    );
    let folder = Credentials::BearerFile(folder.path().to_owned());
    assert!(
        header(Some(&folder), FileRule::Lenient)
            .await
            .unwrap_err()
            .to_string()
            .contains("no regular file")
    );
}

#[tokio::test]
async fn a_header_file_may_name_its_scheme() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rpc");
    for (text, expected) in [("token\n", "Bearer token"), ("Basic dTpw\n", "Basic dTpw")] {
        std::fs::write(&path, text).unwrap();
        assert_eq!(
            header(Some(&Credentials::HeaderFile(path.clone())), FileRule::Lenient)
                .await
                .unwrap()
                .unwrap(),
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
    assert_eq!(
        header(Some(&basic), FileRule::Lenient).await.unwrap().unwrap(),
        "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="
    );
}
