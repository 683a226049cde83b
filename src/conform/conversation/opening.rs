//! How a connection begins, and questions outside of any program.

use serde_json::{Value, json};

use crate::conform::peer::{Lost, Peer};

/// The opening of a connection: greeting and handshake, as they will stand at the head of every recording.
///
/// # Errors
/// The peer does not greet, or does not go on from there.
pub fn open(peer: &mut Peer) -> Result<Vec<String>, Lost> {
    let record =
        |direction: char, text: &str| format!(r#"{{"t":0,"dir":"{direction}","msg":{text}}}"#);
    let mut opening = Vec::new();
    let json = |line: String| -> Result<Value, Lost> {
        serde_json::from_str(line.trim())
            .map_err(|_| Lost::Garbled(line.trim().chars().take(200).collect()))
    };
    let greeting = json(peer.receive()?)?;
    if greeting.get("QMP").is_none() {
        return Err(Lost::Garbled(format!(
            "it begins with {} and not with a greeting",
            greeting.to_string().chars().take(200).collect::<String>()
        )));
    }
    opening.push(record('<', &greeting.to_string()));
    let handshake = r#"{"execute":"qmp_capabilities"}"#;
    peer.send(handshake);
    opening.push(record('>', handshake));
    let answer = json(peer.receive()?)?;
    if answer.get("return").is_none() {
        return Err(Lost::Garbled(format!("the handshake is answered {answer}")));
    }
    opening.push(record('<', &answer.to_string()));
    Ok(opening)
}

/// One question outside of any program; events are passed over.
///
/// # Errors
/// It is not answered.
pub fn ask(peer: &mut Peer, command: &str) -> Result<Value, Lost> {
    peer.send(&json!({"execute": command, "id": 0}).to_string());
    loop {
        let line = peer.receive()?;
        let message: Value = serde_json::from_str(line.trim())
            .map_err(|_| Lost::Garbled(line.trim().chars().take(200).collect()))?;
        if message["id"] == 0 {
            return Ok(message["return"].clone());
        }
    }
}
