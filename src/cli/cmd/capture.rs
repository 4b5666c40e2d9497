//! `capture`: how replies to each sender are read and answered.

use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use optout::capture::lint::{self, Finding, Template};
use optout::capture::{Delivery, Incoming, Provider, Said, Secret, SenderSettings, decide};
use optout::disk::RealDisk;
use optout::intent::Detector;
use optout::server::{CaptureError, CaptureFile};
use optout::time::Timestamp;
use serde_json::{Value, json};

use super::print;
use crate::args::{CaptureCommand, CaptureSet, DeliveryChoice, ProviderChoice, SenderName};
use crate::exit::{Exit, Refusal, UsageError};
use crate::output::Output;

pub(crate) fn run(path: &Path, command: &CaptureCommand, output: &Output) -> anyhow::Result<Exit> {
    let file = || CaptureFile::open(Arc::new(RealDisk::new(path)));
    match command {
        CaptureCommand::List => list(&file()?, output),
        CaptureCommand::Show(name) => {
            let settings = file()?.get(&name.sender, name.channel.as_deref())?;
            show(&settings, output)
        }
        CaptureCommand::Set(args) => set(&file()?, args, output),
        CaptureCommand::Remove(name) => {
            let settings = file()?.remove(&name.sender, name.channel.as_deref())?;
            output.say(format!(
                "{} on {} is set up no more; opt-outs of its people stay, and its webhooks are \
                 answered as those of an unknown sender",
                settings.sender, settings.channel
            ));
            Ok(Exit::Done)
        }
        CaptureCommand::On(name) => switch(&file()?, name, true, output),
        CaptureCommand::Off(name) => switch(&file()?, name, false, output),
        CaptureCommand::Try { name, text } => try_text(&file()?, name, text, output),
        CaptureCommand::LintConfirmation { text, channel } => {
            let text = match text.as_str() {
                "-" => input(Path::new("-"))?,
                text => text.to_owned(),
            };
            let text = text.trim_end_matches(['\n', '\r']);
            findings(text, &lint::confirmation(text, channel), output)
        }
        CaptureCommand::LintTemplate { template, name } => {
            lint_template(&file, template, name.as_deref(), output)
        }
    }
}

fn list(file: &CaptureFile, output: &Output) -> anyhow::Result<Exit> {
    let senders = file.list()?;
    if output.is_json() {
        output.json(&senders.iter().map(SenderSettings::shown).collect::<Vec<_>>())?;
        return Ok(Exit::Done);
    }
    let row = |it: &SenderSettings| {
        let languages: Vec<&str> = it.confirmations.keys().map(String::as_str).collect();
        vec![
            it.sender.clone(),
            it.channel.clone(),
            it.provider_id.clone(),
            it.brand.clone(),
            provider_word(&it.provider).to_owned(),
            if it.capture { "on" } else { "off" }.to_owned(),
            languages.join(","),
            delivery_word(&it.delivery).to_owned(),
        ]
    };
    let columns =
        ["sender", "channel", "provider id", "brand", "provider", "capture", "texts", "delivery"];
    output.table(&columns, senders.iter().map(row).collect())?;
    Ok(Exit::Done)
}

fn provider_word(provider: &Provider) -> &'static str {
    match provider {
        Provider::Meta { .. } => "meta",
        Provider::Twilio { .. } => "twilio",
        Provider::Generic { .. } => "generic",
        _ => "none",
    }
}

fn delivery_word(delivery: &Delivery) -> &'static str {
    match delivery {
        Delivery::Graph { .. } => "graph",
        Delivery::Twilio { .. } => "twilio",
        Delivery::Generic { .. } => "generic",
        _ => "none",
    }
}

/// The settings in full, secrets only as set or not.
fn show(settings: &SenderSettings, output: &Output) -> anyhow::Result<Exit> {
    let shown = settings.shown();
    if output.is_json() {
        output.json(&shown)?;
        return Ok(Exit::Done);
    }
    print(output, format!("{}\n", serde_json::to_string_pretty(&shown)?).as_bytes())
}

fn switch(
    file: &CaptureFile,
    name: &SenderName,
    on: bool,
    output: &Output,
) -> anyhow::Result<Exit> {
    let changed = file.change(&name.sender, name.channel.as_deref(), |it| it.capture = on)?;
    if output.is_json() {
        output.json(&changed.shown())?;
    }
    output.say(match on {
        true => format!("{}: opt-outs are confirmed, and opt-ins count", changed.sender),
        false => format!(
            "{}: nothing is confirmed, and no opt-in counts; opt-outs are recorded all the same",
            changed.sender
        ),
    });
    Ok(Exit::Done)
}

fn set(file: &CaptureFile, args: &CaptureSet, output: &Output) -> anyhow::Result<Exit> {
    let channel = args.name.channel.as_deref();
    let mut settings = match file.get(&args.name.sender, channel) {
        Ok(settings) => settings,
        Err(CaptureError::Unknown) => {
            let channel = channel.ok_or_else(|| {
                let how = "the sender is new: say its --channel, such as whatsapp or sms";
                UsageError(how.to_owned())
            })?;
            SenderSettings::new(&args.name.sender, channel)
        }
        Err(error) => return Err(error.into()),
    };
    plain_settings(&mut settings, args)?;
    if let Some(choice) = args.provider {
        settings.provider = provider(choice, args);
    }
    if let Some(choice) = args.delivery {
        settings.delivery = delivery(choice, args, &settings.provider_id);
    }
    provider_settings(&mut settings.provider, args)?;
    delivery_settings(&mut settings.delivery, args)?;
    let kept = file.set(&settings)?;
    let lacks = lint_texts(&kept);
    lacks.into_iter().for_each(|warning| output.warn(warning));
    if output.is_json() {
        output.json(&kept.shown())?;
    }
    let state = if kept.capture { "on" } else { "off" };
    output.say(format!("{} on {} is set up; capture is {state}", kept.sender, kept.channel));
    Ok(Exit::Done)
}

/// Advice on the texts, which are kept all the same.
fn lint_texts(settings: &SenderSettings) -> Vec<String> {
    let mut advice = Vec::new();
    for (language, text) in &settings.confirmations {
        for finding in lint::confirmation(text, &settings.channel) {
            advice.push(format!("the text in {language}: {}: {}", finding.what, finding.mend));
        }
    }
    advice
}

fn plain_settings(settings: &mut SenderSettings, args: &CaptureSet) -> anyhow::Result<()> {
    let given = |to: &mut String, from: &Option<String>| {
        if let Some(from) = from {
            from.clone_into(to);
        }
    };
    given(&mut settings.provider_id, &args.provider_id);
    given(&mut settings.brand, &args.brand);
    given(&mut settings.language, &args.language);
    if let Some(path) = &args.words {
        settings.words = input(path)?;
    }
    if let Some(buttons) = &args.button {
        settings.buttons = buttons.iter().filter(|it| !it.is_empty()).cloned().collect();
    }
    if let Some(languages) = &args.serves {
        settings.languages = languages.iter().filter(|it| !it.is_empty()).cloned().collect();
    }
    for given in &args.confirmation {
        let how = || UsageError("write --confirmation LANGUAGE=TEXT, such as es=…".to_owned());
        let (language, text) = given.split_once('=').ok_or_else(how)?;
        match text.is_empty() {
            true => drop(settings.confirmations.remove(language)),
            false => drop(settings.confirmations.insert(language.to_owned(), text.to_owned())),
        }
    }
    settings.opt_in_lifts = args.opt_in_lifts.unwrap_or(settings.opt_in_lifts);
    settings.holds_likely = args.holds_likely.unwrap_or(settings.holds_likely);
    Ok(())
}

/// An empty provider of a kind; its secrets, if it had them before, are kept.
fn provider(choice: ProviderChoice, args: &CaptureSet) -> Provider {
    let (one, other) = (Secret::default(), Secret::default());
    match choice {
        ProviderChoice::None => Provider::None,
        ProviderChoice::Meta => Provider::Meta { app_secret: one, verify_token: other },
        ProviderChoice::Twilio => {
            Provider::Twilio { auth_token: one, url: args.webhook_url.clone().unwrap_or_default() }
        }
        ProviderChoice::Generic => Provider::Generic { secret: one },
    }
}

fn delivery(choice: DeliveryChoice, args: &CaptureSet, provider_id: &str) -> Delivery {
    let text = |given: &Option<String>| given.clone().unwrap_or_default();
    let url = text(&args.delivery_url);
    let secret = Secret::default();
    match choice {
        DeliveryChoice::None => Delivery::None,
        DeliveryChoice::Graph => {
            let phone_number_id = args.delivery_id.as_deref().unwrap_or(provider_id).to_owned();
            Delivery::Graph { url, phone_number_id, token: secret }
        }
        DeliveryChoice::Twilio => Delivery::Twilio {
            url,
            account_sid: text(&args.delivery_account),
            token: secret,
            from: text(&args.delivery_from),
        },
        DeliveryChoice::Generic => Delivery::Generic { url, secret },
    }
}

/// What is given must belong to the provider that there is.
fn provider_settings(provider: &mut Provider, args: &CaptureSet) -> anyhow::Result<()> {
    let secrets = [
        ("--app-secret-file", &args.app_secret_file),
        ("--verify-token-file", &args.verify_token_file),
        ("--auth-token-file", &args.auth_token_file),
        ("--secret-file", &args.secret_file),
    ];
    for (option, path) in secrets {
        let Some(path) = path else { continue };
        let secret = match (&mut *provider, option) {
            (Provider::Meta { app_secret, .. }, "--app-secret-file") => app_secret,
            (Provider::Meta { verify_token, .. }, "--verify-token-file") => verify_token,
            (Provider::Twilio { auth_token, .. }, "--auth-token-file") => auth_token,
            (Provider::Generic { secret }, "--secret-file") => secret,
            _ => return Err(foreign(option, "provider").into()),
        };
        *secret = Secret::new(&input(path)?);
    }
    match (provider, &args.webhook_url) {
        (_, None) => Ok(()),
        (Provider::Twilio { url, .. }, Some(given)) => {
            url.clone_from(given);
            Ok(())
        }
        _ => Err(foreign("--webhook-url", "provider").into()),
    }
}

fn delivery_settings(delivery: &mut Delivery, args: &CaptureSet) -> anyhow::Result<()> {
    let texts = [
        ("--delivery-url", &args.delivery_url),
        ("--delivery-id", &args.delivery_id),
        ("--delivery-account", &args.delivery_account),
        ("--delivery-from", &args.delivery_from),
    ];
    for (option, given) in texts {
        let Some(given) = given else { continue };
        let text = match (&mut *delivery, option) {
            (
                Delivery::Graph { url, .. }
                | Delivery::Twilio { url, .. }
                | Delivery::Generic { url, .. },
                "--delivery-url",
            ) => url,
            (Delivery::Graph { phone_number_id, .. }, "--delivery-id") => phone_number_id,
            (Delivery::Twilio { account_sid, .. }, "--delivery-account") => account_sid,
            (Delivery::Twilio { from, .. }, "--delivery-from") => from,
            _ => return Err(foreign(option, "delivery").into()),
        };
        text.clone_from(given);
    }
    let Some(path) = &args.delivery_secret_file else { return Ok(()) };
    let secret = match delivery {
        Delivery::Graph { token, .. } | Delivery::Twilio { token, .. } => token,
        Delivery::Generic { secret, .. } => secret,
        _ => return Err(foreign("--delivery-secret-file", "delivery").into()),
    };
    *secret = Secret::new(&input(path)?);
    Ok(())
}

fn foreign(option: &str, what: &str) -> UsageError {
    UsageError(format!("{option} is not for this {what}: see `optout capture set --help`"))
}

/// A file, or standard input for `-`.
fn input(path: &Path) -> anyhow::Result<String> {
    if path != Path::new("-") {
        return std::fs::read_to_string(path)
            .with_context(|| format!("{} can't be read", path.display()));
    }
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).context("standard input can't be read")?;
    Ok(text)
}

/// What would follow from a message; nothing is recorded or sent.
fn try_text(
    file: &CaptureFile,
    name: &SenderName,
    text: &str,
    output: &Output,
) -> anyhow::Result<Exit> {
    let settings = file.get(&name.sender, name.channel.as_deref())?;
    let own = settings.detector().map_err(|error| UsageError(error.to_string()))?;
    let detector = own.as_ref().unwrap_or_else(|| Detector::built_in());
    let incoming = Incoming {
        number: None,
        id: None,
        sender: settings.sender.clone(),
        channel: settings.channel.clone(),
        said: Said::Text(text.to_owned()),
        message_id: "try".to_owned(),
        occurred_at: Timestamp::now(),
        answers: None,
        campaign: None,
    };
    let decision = decide(Some(&settings), detector, &incoming);
    let (verdict, details) = (&decision.verdict, &decision.details);
    let records = details.as_ref().map_or("nothing", |it| it.action.as_str());
    if output.is_json() {
        let confirmation = decision.confirmation.as_ref();
        output.json(&json!({
            "intent": verdict.intent.as_str(),
            "rule": verdict.rule,
            "matched": verdict.matched,
            "language": verdict.language,
            "records": records,
            "note": details.as_ref().map(|it| &it.note),
            "confirmation":
                confirmation.map(|(language, text)| json!({"language": language, "text": text})),
        }))?;
        return Ok(Exit::Done);
    }
    let mut text = format!("{}\t{}: {}\n", verdict.intent, verdict.rule, verdict.matched);
    text.push_str(&format!("records\t{records}\n"));
    let confirmation = decision.confirmation.as_ref();
    let said =
        confirmation.map_or("nothing".to_owned(), |(language, it)| format!("{language}: {it}"));
    text.push_str(&format!("confirms\t{said}\n"));
    print(output, text.as_bytes())
}

fn lint_template(
    file: &dyn Fn() -> Result<CaptureFile, CaptureError>,
    path: &Path,
    sender: Option<&str>,
    output: &Output,
) -> anyhow::Result<Exit> {
    let settings = sender.map(|name| file()?.get(name, None)).transpose()?;
    let own = settings.as_ref().and_then(|it| it.detector().transpose()).transpose();
    let own = own.map_err(|error| UsageError(error.to_string()))?;
    let detector = own.as_ref().unwrap_or_else(|| Detector::built_in());
    let buttons = settings.as_ref().map(|it| &it.buttons[..]).unwrap_or_default();
    let template = Template::parse(&input(path)?)
        .map_err(|error| UsageError(format!("{}: {error}", path.display())))?;
    let footer = &template.footer;
    let text = if footer.trim().is_empty() { &template.body } else { footer };
    findings(text, &lint::template(&template, detector, buttons), output)
}

/// Findings, each with the part of the text that it is about.
fn findings(text: &str, found: &[Finding], output: &Output) -> anyhow::Result<Exit> {
    let refused = found.iter().filter(|it| it.refuses).count();
    if output.is_json() {
        let shown = |it: &Finding| -> Value {
            json!({
                "rule": it.rule, "refuses": it.refuses, "what": it.what, "mend": it.mend,
                "from": it.at.start, "to": it.at.end, "text": text.get(it.at.clone()),
            })
        };
        output.json(&json!({
            "fit": refused == 0,
            "findings": found.iter().map(shown).collect::<Vec<_>>(),
        }))?;
    } else {
        let mut lines = String::new();
        for it in found {
            let word = if it.refuses { "refused" } else { "advice" };
            let part = super::shown(text.get(it.at.clone()).unwrap_or_default().as_bytes());
            let (from, to) = (it.at.start, it.at.end);
            lines.push_str(&format!(
                "{word}\t{}\tbytes {from} to {to}: {part}\t{}: {}\n",
                it.rule, it.what, it.mend
            ));
        }
        print(output, lines.as_bytes())?;
    }
    match refused {
        0 => {
            output.say("the text is fit");
            Ok(Exit::Done)
        }
        _ => Err(Refusal(format!("the text is not fit: {refused} findings")).into()),
    }
}
