//! One client's side of a conversation: what it sends, in whatever pieces, to what it is answered.
//!
//! Until the client has said `qmp_capabilities` it may say nothing else, and has no events. Commands are
//! carried out in the order in which they come, each answered before the next is looked at; its `id` comes
//! back with the answer. Out-of-band execution is not offered, so `exec-oob` is a member nobody knows.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::command::{self, Core};
use super::error::Error;
use super::json::reader::Reader;
use super::json::write;
use super::schema::check;
use super::server::hub::Hub;
use super::server::outbox::Outbox;

/// How often a question is asked again because an event came while it was answered.
const ASKED_AGAIN_MAX: u32 = 100;

/// Where answers go.
pub trait Answers {
    /// The client has negotiated: events are for it from here on. Its answer comes next.
    fn negotiated(&self);
    /// One answer, a line.
    fn answer(&self, line: &[u8]);
    /// How many events there were so far.
    fn version(&self) -> u64;
    /// One answer that is true only as long as there were no more events; whether it was given.
    fn answer_if_unchanged(&self, line: &[u8], version: u64) -> bool;
}

/// To a client of a server.
pub struct ToClient<'a> {
    /// Where events come from.
    pub hub: &'a Hub,
    /// What is to be sent.
    pub outbox: &'a Outbox,
}

impl Answers for ToClient<'_> {
    fn negotiated(&self) {
        self.outbox.negotiated();
    }

    fn answer(&self, line: &[u8]) {
        self.outbox.reply(line);
    }

    fn version(&self) -> u64 {
        self.hub.version()
    }

    fn answer_if_unchanged(&self, line: &[u8], version: u64) -> bool {
        self.hub.reply(self.outbox, line, version)
    }
}

/// Whether the conversation goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "after `quit` the server ends"]
pub enum GoesOn {
    /// It does.
    Yes,
    /// The client said `quit`, and was answered.
    Quit,
}

/// A conversation.
#[derive(Debug)]
pub struct Conversation {
    core: Arc<Core>,
    reader: Reader,
    negotiated: bool,
}

/// The first line that a client reads.
pub fn greeting() -> Vec<u8> {
    let mut line = Vec::new();
    let greeting = json!({"QMP": {"version": command::version(), "capabilities": []}});
    write::value(&mut line, &greeting);
    line.extend_from_slice(write::END);
    line
}

impl Conversation {
    /// One that begins.
    pub fn new(core: Arc<Core>) -> Conversation {
        Conversation {
            core,
            reader: Reader::default(),
            negotiated: false,
        }
    }

    /// Takes what the client sent, and answers each message that ends in it. `between` is asked before each
    /// whether to go on.
    pub fn feed(
        &mut self,
        bytes: &[u8],
        answers: &impl Answers,
        mut between: impl FnMut() -> bool,
    ) -> GoesOn {
        let (core, negotiated) = (&self.core, &mut self.negotiated);
        let mut goes_on = GoesOn::Yes;
        self.reader.feed(bytes, |message| {
            if goes_on == GoesOn::Yes && between() {
                goes_on = respond(core, negotiated, message, answers);
            }
        });
        goes_on
    }
}

/// Answers one message.
fn respond(
    core: &Core,
    negotiated: &mut bool,
    message: Result<Value, String>,
    answers: &impl Answers,
) -> GoesOn {
    let mut line = Vec::with_capacity(128);
    let mut request = match message {
        Ok(Value::Object(request)) => request,
        Ok(_) => {
            failure(&mut line, None, &"QMP input must be a JSON object".into());
            answers.answer(&line);
            return GoesOn::Yes;
        }
        Err(words) => {
            failure(&mut line, None, &words.into());
            answers.answer(&line);
            return GoesOn::Yes;
        }
    };
    let id = request.remove("id");
    let (name, arguments) = match understand(&request) {
        Ok(understood) => understood,
        Err(error) => {
            failure(&mut line, id.as_ref(), &error);
            answers.answer(&line);
            return GoesOn::Yes;
        }
    };
    for tries in 0.. {
        line.clear();
        let version = answers.version();
        let result = carry_out(core, negotiated, name, arguments, answers);
        // A question, or a refusal, says how things are; it can be asked again, as it changed nothing.
        let timeless = match &result {
            Ok(done) => !done.question,
            Err(_) => command::makes_jobs(name),
        };
        match &result {
            Ok(done) => success(&mut line, id.as_ref(), &done.value),
            Err(error) => failure(&mut line, id.as_ref(), error),
        }
        if timeless || tries >= ASKED_AGAIN_MAX {
            answers.answer(&line);
        } else if !answers.answer_if_unchanged(&line, version) {
            continue;
        }
        if result.is_ok_and(|done| done.quit) {
            return GoesOn::Quit;
        }
        return GoesOn::Yes;
    }
    GoesOn::Yes
}

/// A command's name, and its arguments if it has any.
type Understood<'a> = (&'a str, Option<&'a Map<String, Value>>);

/// The command that a message is.
fn understand(request: &Map<String, Value>) -> Result<Understood<'_>, Error> {
    let mut name = None;
    let mut arguments = None;
    for (key, value) in request {
        match key.as_str() {
            "execute" => {
                let text = value.as_str();
                name = Some(text.ok_or("QMP input member 'execute' must be a string")?);
            }
            "arguments" => {
                let members = value.as_object();
                let not_one = "QMP input member 'arguments' must be an object";
                arguments = Some(members.ok_or(not_one)?);
            }
            other => return Err(format!("QMP input member '{other}' is unexpected").into()),
        }
    }
    let name = name.ok_or("QMP input lacks member 'execute'")?;
    Ok((name, arguments))
}

fn carry_out(
    core: &Core,
    negotiated: &mut bool,
    name: &str,
    arguments: Option<&Map<String, Value>>,
    answers: &impl Answers,
) -> Result<command::Done, Error> {
    let negotiates = name == "qmp_capabilities";
    if !*negotiated && !negotiates {
        return Err(Error::no_command(
            "Expecting capabilities negotiation with 'qmp_capabilities'",
        ));
    }
    let Some(command) = core.find(name) else {
        return Err(Error::no_command(format!(
            "The command {name} has not been found"
        )));
    };
    let none = Map::new();
    let arguments = arguments.unwrap_or(&none);
    check::arguments(command.arguments, arguments)?;
    if negotiates {
        if *negotiated {
            return Err(Error::no_command(
                "Capabilities negotiation is already complete, command ignored",
            ));
        }
        let wanted = arguments.get("enable").and_then(Value::as_array);
        if wanted.is_some_and(|wanted| !wanted.is_empty()) {
            return Err("Capability oob not available".into());
        }
        *negotiated = true;
        answers.negotiated();
        return Ok(command::Done::nothing());
    }
    core.carry_out(name, arguments)
}

fn success(line: &mut Vec<u8>, id: Option<&Value>, value: &Value) {
    line.extend_from_slice(b"{\"return\": ");
    write::value(line, value);
    if let Some(id) = id {
        line.extend_from_slice(b", \"id\": ");
        write::value(line, id);
    }
    line.push(b'}');
    line.extend_from_slice(write::END);
}

fn failure(line: &mut Vec<u8>, id: Option<&Value>, error: &Error) {
    line.push(b'{');
    if let Some(id) = id {
        line.extend_from_slice(b"\"id\": ");
        write::value(line, id);
        line.extend_from_slice(b", ");
    }
    line.extend_from_slice(b"\"error\": {\"class\": ");
    write::string(line, error.class.name());
    line.extend_from_slice(b", \"desc\": ");
    write::string(line, &error.words);
    line.extend_from_slice(b"}}");
    line.extend_from_slice(write::END);
}
