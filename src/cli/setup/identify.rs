//! The questions for the gateway device and its access key, checked with Losant.

use std::path::Path;

use super::answers::Answers;
use super::{Flow, SetupArgs, files};
use crate::cli::prompt::{self, Answer};
use crate::cli::{print, secrecy};
use tidegate_config::{Cloud, CloudCredentials};
use tidegate_delivery::response::ResponseClass;
use tidegate_losant::query::Shape;
use tidegate_losant::{Client, Error};

/// Asks for device and access key until Losant accepts them.
pub(super) async fn identify(
    args: &SetupArgs,
    directory: &Path,
    answers: &mut Answers,
) -> anyhow::Result<CloudCredentials> {
    let mut kept = files::kept_credentials(directory);
    loop {
        if answers.device(args)? != Flow::Next {
            print("The device id is needed; Ctrl-D ends the setup.\n")?;
            continue;
        }
        let key = args.access_key.as_deref();
        let Some(credentials) = credentials(key, kept.take())? else { continue };
        secrecy::keep_out_of_core_dumps();
        let device = answers.device_id()?;
        let client = Client::new(Cloud::new(answers.url(), device, credentials.clone()))?;
        match client.get(device, Shape::default()).await {
            Ok(known) => {
                // Text from the cloud must not control the terminal.
                let (name, class) = (known.name.escape_debug(), known.device_class.escape_debug());
                print(&format!("Found in Losant: {name} ({class})\n"))?;
                return Ok(credentials);
            }
            Err(error) if prompt::is_possible() => {
                if keeps_unchecked(&error)? {
                    return Ok(credentials);
                }
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// Returns the kept credentials, or asks for others. Returns `None` for another device.
fn credentials(
    key: Option<&str>,
    kept: Option<CloudCredentials>,
) -> anyhow::Result<Option<CloudCredentials>> {
    let key = match (key, kept) {
        (None, Some(kept)) => return Ok(Some(kept)),
        (Some(key), _) => key.to_owned(),
        (None, None) => {
            let answer = prompt::checked("Access key", None, "--access-key KEY", |text| {
                let is_key = !text.is_empty() && !text.contains(char::is_whitespace);
                is_key
                    .then(|| text.to_owned())
                    .ok_or_else(|| "an access key is one word, as Losant shows it".to_owned())
            })?;
            match answer {
                Answer::Given(key) => key,
                Answer::Back | Answer::Skip => return Ok(None),
            }
        }
    };
    let secret = prompt::secret("Access secret")?;
    Ok(Some(CloudCredentials::AccessKey { key, secret }))
}

/// Prints why Losant did not accept an answer. If it was not reachable, the user may keep it.
fn keeps_unchecked(error: &Error) -> anyhow::Result<bool> {
    match error.response_class() {
        ResponseClass::Offline | ResponseClass::ServerError(_) | ResponseClass::Throttled(_) => {
            print(&format!("Losant does not answer: {error}\n"))?;
            Ok(!prompt::choose("Try again? Without it, the answers are not checked", true)?)
        }
        ResponseClass::Stored
        | ResponseClass::Unauthorized
        | ResponseClass::TooLarge
        | ResponseClass::Malformed
        | ResponseClass::Blocked => {
            print(&format!("Losant refused: {error}\n"))?;
            Ok(false)
        }
    }
}
