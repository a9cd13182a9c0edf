//! `retort serve`: a model as an OpenAI-compatible endpoint.

use crate::args::Serve;
use crate::endpoint;
use crate::open::{Embedded, ModelFiles};
use crate::progress::Progress;
use anyhow::{Result, bail};
use retort_serve::{Key, Limits, Server, Settings};
use std::process::ExitCode;

pub fn run(args: &Serve) -> Result<ExitCode> {
    let key = match endpoint::key_text(args.key_file.as_deref(), args.key_env.as_deref())? {
        None => None,
        Some(text) => match Key::new(&text) {
            Some(key) => Some(key),
            None => bail!("the key file is empty"),
        },
    };
    let device = args.place.on.open()?;
    let engine =
        ModelFiles::open(&args.model, Embedded::Teacher)?.within(args.place.memory).on(&device).chat_engine()?;
    let model = args.name.clone().unwrap_or_else(|| args.model.clone());
    let settings = Settings { address: args.addr, key, model: model.clone(), limits: Limits::default() };
    let server = Server::bind(engine, settings)?;
    // Programs that chose port 0 read the address here.
    eprintln!("serving `{model}` at http://{}/v1", server.address()?);
    server.run(&Progress::new())?;
    Ok(ExitCode::SUCCESS)
}
