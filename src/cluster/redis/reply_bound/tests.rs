#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use tokio::io::AsyncReadExt as _;

use super::*;

const REPLY: usize = 4 << 20;

/// Reads a number of bytes from a server that sends without end.
async fn read(stream: &mut ReplyBound<tokio::io::Repeat>, bytes: usize) -> io::Result<()> {
    let mut left = bytes;
    let mut buffer = vec![0; 64 << 10];
    while left > 0 {
        let most = left.min(buffer.len());
        left -= stream.read(&mut buffer[..most]).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_server_may_send_one_reply_for_each_command_and_no_more() {
    let account = Arc::new(ReplyAccount::default());
    let mut stream = ReplyBound::new(tokio::io::repeat(b':'), Arc::clone(&account));
    assert_eq!(MAX_REPLY_BYTES, REPLY as u64);
    // The handshake.
    read(&mut stream, REPLY).await.unwrap();
    let command = account.command();
    command.arrived();
    let commands = [account.command(), account.command()];
    read(&mut stream, 2 * REPLY).await.unwrap();
    let why = read(&mut stream, 1).await.unwrap_err().to_string();
    assert_eq!(why, "it has sent more than 4 MiB for a reply");
    drop(commands);
}

#[tokio::test]
async fn what_was_sent_for_earlier_commands_is_forgotten_with_their_replies() {
    let account = Arc::new(ReplyAccount::default());
    let mut stream = ReplyBound::new(tokio::io::repeat(b':'), Arc::clone(&account));
    for _ in 0..5 {
        let command = account.command();
        read(&mut stream, REPLY).await.unwrap();
        command.arrived();
    }
    // A command that was given up no longer counts.
    drop(account.command());
    read(&mut stream, REPLY).await.unwrap();
    assert!(read(&mut stream, 1).await.is_err());
}
