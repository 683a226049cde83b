//! Drives `blockjob serve` with the crate `qapi`, whose types are made from QEMU's schema; what it saw goes to standard
//! output.

use std::error::Error;
use std::io::BufReader;
use std::os::unix::net::UnixStream;

use qapi::qmp::{self, Event, JobStatus};
use qapi::{ExecuteError, Qmp, Stream};

fn node(name: &str, folder: &str) -> qmp::blockdev_add {
    qmp::blockdev_add(qmp::BlockdevOptions::file {
        base: qmp::BlockdevOptionsBase {
            node_name: Some(name.to_owned()),
            auto_read_only: None,
            cache: None,
            detect_zeroes: None,
            discard: None,
            force_share: None,
            read_only: None,
        },
        file: qmp::BlockdevOptionsFile {
            filename: format!("{folder}/{name}"),
            aio: None,
            aio_max_batch: None,
            drop_cache: None,
            locking: None,
            pr_manager: None,
            x_check_cache_dropped: None,
        },
    })
}

fn backup() -> qmp::blockdev_backup {
    qmp::blockdev_backup(qmp::BlockdevBackup {
        base: qmp::BackupCommon {
            job_id: Some("j".to_owned()),
            device: "a".to_owned(),
            sync: qmp::MirrorSyncMode::full,
            auto_dismiss: Some(false),
            auto_finalize: None,
            bitmap: None,
            bitmap_mode: None,
            compress: None,
            discard_source: None,
            filter_node_name: None,
            on_source_error: Some(qmp::BlockdevOnError::report),
            on_target_error: None,
            speed: None,
            x_perf: None,
        },
        target: "b".to_owned(),
    })
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(socket), Some(folder)) = (arguments.next(), arguments.next()) else {
        return Err("client SOCKET FOLDER".into());
    };
    let stream = UnixStream::connect(socket)?;
    let mut client = Qmp::new(Stream::new(BufReader::new(stream.try_clone()?), stream));
    let greeting = client.handshake()?;
    let package = greeting.version.package;
    println!(
        "greeted by {}",
        package.split(' ').next().unwrap_or_default()
    );
    for name in ["a", "b"] {
        client.execute(&node(name, &folder))?;
    }
    let pause = qmp::block_job_pause {
        device: "nobody".to_owned(),
    };
    match client.execute(&pause) {
        Err(ExecuteError::Qapi(error)) => println!("refused: {:?}: {}", error.class, error.desc),
        other => return Err(format!("nobody was paused: {other:?}").into()),
    }
    client.execute(&backup())?;
    loop {
        let jobs = client.execute(&qmp::query_jobs {})?;
        match jobs.as_slice() {
            [job] if job.status == JobStatus::concluded => break,
            [_] => {}
            other => return Err(format!("not one job: {other:?}").into()),
        }
    }
    client.execute(&qmp::job_dismiss { id: "j".to_owned() })?;
    client.nop()?;
    let statuses: Vec<JobStatus> = client
        .events()
        .filter_map(|event| match event {
            Event::JOB_STATUS_CHANGE { data, .. } => Some(data.status),
            _ => None,
        })
        .collect();
    let expected = [
        JobStatus::created,
        JobStatus::running,
        JobStatus::waiting,
        JobStatus::pending,
        JobStatus::concluded,
        JobStatus::null,
    ];
    if statuses == expected {
        println!("events in order");
    } else {
        println!("{statuses:?}");
    }
    client.execute(&qmp::quit {})?;
    Ok(())
}
