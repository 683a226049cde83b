//! Who a peer is: what it says of itself when it greets, whose rules it goes by, and what it can do.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use blockjob_model::Profile;
use blockjob_model::profile::REFERENCE;
use serde_json::{Value, json};

use super::conversation;
use super::generate::Abilities;
use super::image::Image;
use super::peer::{Lost, Peer};
use crate::oracle::reader::json::Piece;
use crate::oracle::reader::qmp::{Peer as Greeted, read_greeting};

/// Who a peer is.
#[derive(Clone, Debug)]
pub struct Identity {
    /// For people: its name and version.
    pub name: String,
    /// By whose rules it is judged.
    pub profile: &'static Profile,
    /// What it can do.
    pub abilities: Abilities,
}

/// Lets a peer that was just started introduce itself: how the connection began, and who it is. It is judged by
/// `profile`, or by that of its greeting; `folder` is for its images.
///
/// # Errors
/// It does not speak QMP.
pub(super) fn introduce(
    peer: &mut Peer,
    profile: Option<&'static Profile>,
    folder: &Path,
) -> Result<(Vec<String>, Identity), Lost> {
    let opening = conversation::open(peer)?;
    let (name, greeted) = who(&opening[0]);
    let profile = profile.unwrap_or(match greeted {
        Greeted {
            version: Some((major, minor)),
            blockjob: false,
        } => Profile::for_qemu(major, minor),
        Greeted { .. } => &REFERENCE,
    });
    let commands = conversation::ask(peer, "query-commands")?;
    let commands: BTreeSet<String> = commands
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|command| Some(command["name"].as_str()?.to_owned()))
        .collect();
    let faults = fails(peer, folder)?;
    let identity = Identity {
        name,
        profile,
        abilities: Abilities {
            commands,
            faults,
            expendable: false,
        },
    };
    Ok((opening, identity))
}

/// Why there is no peer, where one was started and did not introduce itself. Ends it.
pub(super) fn stranger(peer: Peer, lost: &Lost) -> io::Error {
    let what = match lost {
        Lost::Ended => "it ended before it had greeted".to_owned(),
        Lost::Silent(limit) => format!(
            "it did not greet or answer within {:.0} s",
            limit.as_secs_f64()
        ),
        Lost::Garbled(what) => format!("it does not speak QMP: {what}"),
        Lost::Interrupted => "interrupted".to_owned(),
    };
    let words = peer.end(*lost == Lost::Ended);
    let kind = if *lost == Lost::Interrupted {
        io::ErrorKind::Interrupted
    } else {
        io::ErrorKind::Other
    };
    let said: Vec<String> = words
        .status
        .into_iter()
        .chain((!words.stderr.is_empty()).then_some(words.stderr))
        .collect();
    io::Error::new(
        kind,
        if said.is_empty() {
            what
        } else {
            format!("{what} ({})", said.join("; "))
        },
    )
}

/// Whether it has nodes that fail when asked to.
fn fails(peer: &mut Peer, folder: &Path) -> Result<bool, Lost> {
    let path = folder.join("probe.img");
    if (Image::Blank { size: 512 }).make(&path).is_err() {
        return Ok(false);
    }
    let add = json!({"execute": "blockdev-add", "id": 0, "arguments": {
        "driver": "blkdebug", "node-name": "probe",
        "inject-error": [{"event": "none", "iotype": "read", "errno": 5, "once": false}],
        "image": {"driver": "file", "filename": path}}});
    let made = asked(peer, &add)?.get("return").is_some();
    if made {
        let del = json!({"execute": "blockdev-del", "id": 0, "arguments": {"node-name": "probe"}});
        asked(peer, &del)?;
    }
    Ok(made)
}

fn asked(peer: &mut Peer, command: &Value) -> Result<Value, Lost> {
    peer.send(&command.to_string());
    loop {
        let line = peer.receive()?;
        let message: Value = serde_json::from_str(line.trim())
            .map_err(|_| Lost::Garbled(line.trim().chars().take(200).collect()))?;
        if message["id"] == command["id"] {
            return Ok(message);
        }
    }
}

/// Who greets.
fn who(opening: &str) -> (String, Greeted) {
    let line: Value = serde_json::from_str(opening).unwrap_or_default();
    let version = &line["msg"]["QMP"]["version"];
    let text = line["msg"]["QMP"].to_string();
    let greeted = serde_json::from_str::<Piece<'_>>(&text).map_or(
        Greeted {
            version: None,
            blockjob: false,
        },
        read_greeting,
    );
    let package = version["package"].as_str().unwrap_or_default();
    let numbers = &version["qemu"];
    let numbers = format!(
        "{}.{}.{}",
        numbers["major"], numbers["minor"], numbers["micro"]
    );
    let name = match greeted {
        Greeted { blockjob: true, .. } => package.to_owned(),
        Greeted {
            version: Some(_), ..
        } if package.is_empty() => format!("QEMU {numbers}"),
        Greeted {
            version: Some(_), ..
        } => format!("QEMU {numbers} ({package})"),
        _ => "a peer that does not say its version".to_owned(),
    };
    (name, greeted)
}
