//! Every flag, with its short and long help.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use optout::event::{Ground, Source, Tier};
use optout::exchange::{MaxAdded, RegistryFormat};
use optout::number::Region;
use optout::store::RegistryName;
use optout::time::{Timestamp, Zone};

/// Keeps who opted out, and takes them out of recipient lists.
#[derive(Debug, Parser)]
#[command(name = "optout", version, max_term_width = 100, after_help = EXIT_CODES)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXIT_CODES: &str = "\
Exit codes:
  0   done; what was reported is durable
  1   failed (input, output …); no output file stands under its final name
  2   wrong usage
  3   the store is damaged, or is not a store: nothing was answered
  4   another writer holds the store
  5   refused by a guard: an output exists, is the input …
  10  check, recheck --exit-status: somebody is not allowed";

/// Where help lists the options that every command has.
const COMMON: &str = "Common options";

/// Options of every command.
#[derive(Debug, Args)]
pub(crate) struct Global {
    /// The directory of the store
    #[arg(long, env = "OPTOUT_STORE", global = true, help_heading = COMMON, value_name = "DIR")]
    pub(crate) store: Option<PathBuf>,
    /// Machine-readable standard output
    #[arg(long, global = true, help_heading = COMMON)]
    pub(crate) json: bool,
    /// No words on standard error but errors and warnings
    #[arg(long, short, global = true, help_heading = COMMON)]
    pub(crate) quiet: bool,
    /// No progress bars
    #[arg(long, global = true, help_heading = COMMON)]
    pub(crate) no_progress: bool,
    /// Colours on standard error; NO_COLOR is honoured too
    #[arg(long, global = true, help_heading = COMMON, value_enum, default_value_t = ColorChoice::Auto, value_name = "WHEN")]
    pub(crate) color: ColorChoice,
}

/// When to use colours.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum ColorChoice {
    Auto,
    Always,
    Never,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a store
    Init(Init),
    /// Record opt-outs
    Add(Add),
    /// Record that persons want messages again
    Resubscribe(Resubscribe),
    /// Let messages of one category through in spite of an opt-out from all messages
    Override(Override),
    /// Join an id and a number: what holds for one holds for both
    Link(Link),
    /// Forget persons: drop all that is recorded of them but the opt-out itself
    Erase(Erase),
    /// Record lists of opt-outs
    Import(Import),
    /// Take an import back: nobody is opted out by it any more
    UndoImport(UndoImport),
    /// Take those who opted out out of recipient lists
    Scrub(Scrub),
    /// Give the rows of a scrubbed list that stand differently since, right before it is sent
    Recheck(Recheck),
    /// Say who may be messaged
    Check(Check),
    /// Say why somebody may be messaged or not, with all events behind it
    Why(Why),
    /// List the layers: registries and consents that somebody else keeps
    Layers(Layers),
    /// Show who came to be opted out and who no longer is, between two moments or two sets
    Diff(Diff),
    /// Write the events or opt-outs of a range of dates
    Export(Export),
    /// Count the events of a range of dates
    Stats(Stats),
    /// Fold the journal into a new generation
    Compact,
    /// Read everything in the store and name every damage
    Verify,
    /// Serve the store over HTTP: record and ask by programs
    #[cfg(feature = "server")]
    Serve(Serve),
    /// Make, list and revoke the keys with which programs ask the server
    #[cfg(feature = "server")]
    #[command(subcommand)]
    Key(KeyCommand),
    /// Say how replies to each sender are read and answered
    #[cfg(feature = "server")]
    #[command(subcommand)]
    Capture(CaptureCommand),
    /// Say how campaigns treat those who opted out; the server's questions name them
    #[cfg(feature = "server")]
    #[command(subcommand)]
    Campaign(CampaignCommand),
    /// Read phone numbers, one a line on standard input, and write them in one form
    Normalize(Normalize),
    /// Say what messages ask for: to be left alone, to be written to again, help
    Detect(Detect),
    /// Write a completion script for a shell
    Completions(Completions),
    /// Write the manual page
    Man,
}

/// Options of `init`.
#[derive(Debug, Args)]
pub(crate) struct Init {
    /// Also merge numbers that are only probably one phone
    ///
    /// Tier 2 of the fold table: old Gabonese forms, Palestinian numbers behind 972, San Marino
    /// behind 39. More people than opted out may then be suppressed. Cannot be changed later.
    #[arg(long)]
    pub(crate) tier2: bool,
}

/// What one or many events share.
#[derive(Debug, Args)]
pub(crate) struct EventArgs {
    /// The region of national numbers, such as MX
    #[arg(long, value_parser = region)]
    pub(crate) region: Option<Region>,
    /// When the person acted: RFC 3339, or a date; now if not given
    #[arg(long, value_name = "TIME")]
    pub(crate) at: Option<String>,
    /// The zone of times without an offset
    #[arg(long, value_parser = Zone::parse, default_value = "UTC", value_name = "ZONE")]
    pub(crate) tz: Zone,
    /// Where it came from: api, keyword, button, preference, import, registry, agent, carrier
    #[arg(long, value_parser = source)]
    pub(crate) source: Option<Source>,
    #[command(flatten)]
    pub(crate) scope: ScopeArgs,
    /// What it covers: marketing, or all messages; marketing if not given, but all for the words
    /// STOPALL and STOP ALL, and for the grounds legal and wrong-person
    #[arg(long, value_parser = tier)]
    pub(crate) tier: Option<Tier>,
    /// The word that the person used
    #[arg(long, value_name = "TEXT")]
    pub(crate) word: Option<String>,
    /// The campaign that caused it
    #[arg(long, value_name = "ID")]
    pub(crate) campaign: Option<String>,
    /// The message template that caused it
    #[arg(long, value_name = "ID")]
    pub(crate) template: Option<String>,
    /// The provider's id of the message; the same id twice is one event
    #[arg(long, value_name = "ID")]
    pub(crate) message_id: Option<String>,
    /// Free text
    #[arg(long, value_name = "TEXT")]
    pub(crate) note: Option<String>,
}

/// Options of `serve`.
#[cfg(feature = "server")]
#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// Where to listen; as long as the store has no key, loopback only
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8080")]
    pub(crate) listen: std::net::SocketAddr,
    /// Rules of your own instead of the built-in ones
    #[arg(long, value_name = "FILE")]
    pub(crate) policy: Option<PathBuf>,
    /// The folder for campaign files while they are scrubbed; the store's own if not given
    #[arg(long, value_name = "DIR")]
    pub(crate) spool: Option<PathBuf>,
}

/// What to do with keys.
#[cfg(feature = "server")]
#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommand {
    /// Make a key and print it, this once; from then on nobody is served without a key
    Create(KeyCreate),
    /// List the keys that were made
    List,
    /// Revoke a key: a running server refuses it within a second
    Revoke {
        /// The id of the key, as the list has it; not the key itself
        #[arg(value_name = "ID")]
        id: String,
    },
}

/// Options of `key create`.
#[cfg(feature = "server")]
#[derive(Debug, Args)]
pub(crate) struct KeyCreate {
    /// What it opens: add, resubscribe, check, export, admin
    #[arg(long, required = true, value_delimiter = ',', value_name = "SCOPE,…")]
    pub(crate) scope: Vec<optout::server::KeyScope>,
    /// What to call it; recorded with what it records
    #[arg(long, default_value = "", value_name = "NAME")]
    pub(crate) name: String,
    /// From when on it opens nothing: RFC 3339, or a date
    #[arg(long, value_name = "TIME")]
    pub(crate) expires: Option<String>,
    /// The zone of a date
    #[arg(long, value_parser = Zone::parse, default_value = "UTC", value_name = "ZONE")]
    pub(crate) tz: Zone,
}

/// What to do with the settings of senders.
#[cfg(feature = "server")]
#[derive(Debug, Subcommand)]
pub(crate) enum CaptureCommand {
    /// List the senders that are set up
    List,
    /// Show the settings of a sender, without its secrets
    Show(SenderName),
    /// Set a sender up, or change what is given; a running server follows within a second
    Set(Box<CaptureSet>),
    /// Take a sender out
    Remove(SenderName),
    /// Confirm opt-outs and let opt-ins count; needs a text for each language that is served
    On(SenderName),
    /// Confirm nothing and let no opt-in count; opt-outs are recorded all the same
    Off(SenderName),
    /// Say what would follow from a message, without recording or sending anything
    Try {
        #[command(flatten)]
        name: SenderName,
        /// The message
        #[arg(value_name = "TEXT")]
        text: String,
    },
    /// Say whether a text is fit to confirm an opt-out; exit code 5 if not
    LintConfirmation {
        /// The text; - reads standard input
        #[arg(value_name = "TEXT")]
        text: String,
        /// The channel on which it is sent
        #[arg(long, default_value = "whatsapp")]
        channel: String,
    },
    /// Say whether a marketing template shows a way out that is read as one; exit code 5 if not
    LintTemplate {
        /// JSON of body, footer, buttons, language and category, or as WhatsApp has it, or text
        #[arg(value_name = "FILE")]
        template: PathBuf,
        /// Read it by the words and buttons of this sender
        #[arg(long = "sender", value_name = "SENDER")]
        name: Option<String>,
    },
}

/// Which sender.
#[cfg(feature = "server")]
#[derive(Debug, Args)]
pub(crate) struct SenderName {
    /// The sender's name as in events, or the provider's name for it
    #[arg(value_name = "SENDER")]
    pub(crate) sender: String,
    /// The channel, such as whatsapp or sms; needed for a new sender
    #[arg(long)]
    pub(crate) channel: Option<String>,
}

/// From where replies come.
#[cfg(feature = "server")]
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum ProviderChoice {
    None,
    Meta,
    Twilio,
    Generic,
}

/// Who sends confirmations.
#[cfg(feature = "server")]
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum DeliveryChoice {
    None,
    Graph,
    Twilio,
    Generic,
}

/// Options of `capture set`. Secrets are read from files, never from the command line, which
/// others see.
#[cfg(feature = "server")]
#[derive(Debug, Args)]
pub(crate) struct CaptureSet {
    #[command(flatten)]
    pub(crate) name: SenderName,
    /// The provider's name for the sender, such as WhatsApp's phone number id
    #[arg(long, value_name = "ID")]
    pub(crate) provider_id: Option<String>,
    /// The brand behind it
    #[arg(long)]
    pub(crate) brand: Option<String>,
    /// From where replies come
    #[arg(long, value_enum)]
    pub(crate) provider: Option<ProviderChoice>,
    /// Meta: the file with the app secret; - reads standard input
    #[arg(long, value_name = "FILE")]
    pub(crate) app_secret_file: Option<PathBuf>,
    /// Meta: the file with the token that is asked for when the webhook is set up
    #[arg(long, value_name = "FILE")]
    pub(crate) verify_token_file: Option<PathBuf>,
    /// Twilio: the file with the auth token
    #[arg(long, value_name = "FILE")]
    pub(crate) auth_token_file: Option<PathBuf>,
    /// Twilio: the address of the webhook as Twilio calls it
    #[arg(long, value_name = "URL")]
    pub(crate) webhook_url: Option<String>,
    /// Generic: the file with the secret that signs
    #[arg(long, value_name = "FILE")]
    pub(crate) secret_file: Option<PathBuf>,
    /// A table of own words, as `detect --words` takes it; they add, never replace
    #[arg(long, value_name = "FILE")]
    pub(crate) words: Option<PathBuf>,
    /// A text or payload of a button that is an opt-out; again for more, empty for none
    #[arg(long, value_name = "TEXT")]
    pub(crate) button: Option<Vec<String>>,
    /// The languages that the sender serves: each needs a text
    #[arg(long, value_delimiter = ',', value_name = "LANGUAGE,…")]
    pub(crate) serves: Option<Vec<String>>,
    /// The language of confirmations when that of the message has no text
    #[arg(long)]
    pub(crate) language: Option<String>,
    /// The confirmation in a language; again for more, without text to take it out
    #[arg(long, value_name = "LANGUAGE=TEXT")]
    pub(crate) confirmation: Vec<String>,
    /// Whether a clear opt-in lifts an opt-out; true for a new sender
    #[arg(long, value_name = "BOOL")]
    pub(crate) opt_in_lifts: Option<bool>,
    /// Whether a probable opt-out is recorded as one; true for a new sender
    #[arg(long, value_name = "BOOL")]
    pub(crate) holds_likely: Option<bool>,
    /// Who sends confirmations; none hands them to whoever posted the message
    #[arg(long, value_enum)]
    pub(crate) delivery: Option<DeliveryChoice>,
    /// The endpoint, such as https://graph.facebook.com/v23.0 or https://api.twilio.com
    #[arg(long, value_name = "URL")]
    pub(crate) delivery_url: Option<String>,
    /// Graph: the phone number id; that of --provider-id if not given
    #[arg(long, value_name = "ID")]
    pub(crate) delivery_id: Option<String>,
    /// Twilio: the account SID
    #[arg(long, value_name = "SID")]
    pub(crate) delivery_account: Option<String>,
    /// Twilio: from which number, or by which messaging service
    #[arg(long, value_name = "NUMBER")]
    pub(crate) delivery_from: Option<String>,
    /// The file with the token that opens the endpoint, or the secret that signs
    #[arg(long, value_name = "FILE")]
    pub(crate) delivery_secret_file: Option<PathBuf>,
}

/// What to do with campaigns.
#[cfg(feature = "server")]
#[derive(Debug, Subcommand)]
pub(crate) enum CampaignCommand {
    /// List the campaigns that are set
    List,
    /// Show one campaign
    Show {
        /// The campaign
        #[arg(value_name = "ID")]
        id: String,
    },
    /// Set a campaign, new or not; what is not given is as for a new one
    Set(CampaignSet),
    /// Remove a campaign: whoever names it from now on is refused
    Remove {
        /// The campaign
        #[arg(value_name = "ID")]
        id: String,
    },
}

/// Options of `campaign set`.
#[cfg(feature = "server")]
#[derive(Debug, Args)]
pub(crate) struct CampaignSet {
    /// The campaign
    #[arg(value_name = "ID")]
    pub(crate) id: String,
    /// Of its messages: marketing, utility or authentication
    #[arg(long, default_value = "marketing", value_name = "CATEGORY")]
    pub(crate) category: String,
    /// Whether it excludes whoever opted out: on, report (nobody is taken out, it is told who
    /// would be) or off (nobody is asked)
    #[arg(long, default_value = "on", value_name = "MODE")]
    pub(crate) mode: optout::server::CampaignMode,
    #[command(flatten)]
    pub(crate) scope: ScopeArgs,
}

/// Where an opt-out holds, or how a message is sent.
#[derive(Debug, Args)]
pub(crate) struct ScopeArgs {
    /// The channel: whatsapp, sms, rcs, voice, email …; all of them if not given
    #[arg(long, value_name = "CHANNEL")]
    pub(crate) channel: Option<String>,
    /// The sender, by name or number; all of them if not given
    #[arg(long, value_name = "SENDER")]
    pub(crate) sender: Option<String>,
    /// The brand; all of them if not given
    #[arg(long, value_name = "BRAND")]
    pub(crate) brand: Option<String>,
}

/// Options of `add`.
#[derive(Debug, Args)]
pub(crate) struct Add {
    /// The numbers, in any spelling; - reads one a line from standard input
    #[arg(required = true, value_name = "NUMBER")]
    pub(crate) numbers: Vec<String>,
    /// On what ground: request, legal, wrong-person, protected. No resubscribe lifts legal and
    /// protected
    #[arg(long, value_parser = ground, default_value = "request", value_name = "GROUND")]
    pub(crate) ground: Ground,
    #[command(flatten)]
    pub(crate) event: EventArgs,
}

/// Options of `override`.
#[derive(Debug, Args)]
pub(crate) struct Override {
    /// The numbers, in any spelling; - reads one a line from standard input
    #[arg(required = true, value_name = "NUMBER")]
    pub(crate) numbers: Vec<String>,
    /// The category that gets through in spite of an opt-out from all messages
    #[arg(long, value_name = "utility|authentication")]
    pub(crate) category: String,
    /// Why, and who decided it
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: String,
    #[command(flatten)]
    pub(crate) event: EventArgs,
}

/// Options of `link`.
#[derive(Debug, Args)]
pub(crate) struct Link {
    /// An id without a number (US.1349…) and the number of the same person, or two ids; - reads
    /// one pair a line from standard input, with a tab or comma between
    #[arg(required = true, num_args = 1..=2, value_names = ["ID", "NUMBER"])]
    pub(crate) ends: Vec<String>,
    #[command(flatten)]
    pub(crate) event: EventArgs,
}

/// Options of `erase`.
#[derive(Debug, Args)]
pub(crate) struct Erase {
    /// The numbers, in any spelling, or ids; - reads one a line from standard input
    ///
    /// Their events, spellings and notes leave the store for good, and the files are searched for
    /// the numbers afterwards. They stay opted out of all messages, also those of whom nothing was
    /// recorded. Addresses that are linked with one of them are erased with it. Outside lists,
    /// exports and backups are not touched.
    #[arg(required = true, value_name = "NUMBER")]
    pub(crate) numbers: Vec<String>,
    /// The region of national numbers, such as MX
    #[arg(long, value_parser = region)]
    pub(crate) region: Option<Region>,
    /// Why, such as the number of a case; it is kept, so it must not say who was forgotten
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
    /// Erase nothing, only say how many events would be dropped
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// Options of `resubscribe`.
#[derive(Debug, Args)]
pub(crate) struct Resubscribe {
    /// The numbers, in any spelling; - reads one a line from standard input
    #[arg(required = true, value_name = "NUMBER")]
    pub(crate) numbers: Vec<String>,
    /// Why: how the person said so, and to whom
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: String,
    /// As an operator (source agent, import, registry, carrier), lift also what the person said
    /// himself
    #[arg(long = "override")]
    pub(crate) overrides: bool,
    #[command(flatten)]
    pub(crate) event: EventArgs,
}

/// Options of `import`.
#[derive(Debug, Args)]
pub(crate) struct Import {
    /// The lists: CSV with any delimiter, or one number a line; - is standard input
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// The column of the numbers, by name or by index from 1; found by its header if not given
    #[arg(long, value_name = "NAME|INDEX")]
    pub(crate) column: Option<String>,
    /// The column that says when each person acted
    #[arg(long, value_name = "NAME|INDEX")]
    pub(crate) at_column: Option<String>,
    /// The column that has the region of each number
    #[arg(long, value_name = "NAME|INDEX")]
    pub(crate) region_column: Option<String>,
    /// The column of the message template that each person answered; --template where it is empty
    #[arg(long, value_name = "NAME|INDEX")]
    pub(crate) template_column: Option<String>,
    /// The column of the campaign that each person answered; --campaign where it is empty
    #[arg(long, value_name = "NAME|INDEX")]
    pub(crate) campaign_column: Option<String>,
    /// Write the rows that can't be read to this file, with line and reason
    #[arg(long, value_name = "FILE")]
    pub(crate) invalid: Option<PathBuf>,
    /// Replace an existing file of invalid rows
    #[arg(long)]
    pub(crate) force: bool,
    /// On what ground: request, legal, wrong-person, protected. No resubscribe lifts legal and
    /// protected
    #[arg(long, value_parser = ground, default_value = "request", value_name = "GROUND")]
    pub(crate) ground: Ground,
    /// Record nothing, only count
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Refuse to add more than so many, such as 5000, or than such a share of those who are opted
    /// out, such as 10%: the lists are counted first, and nothing is recorded when it is more
    #[arg(long, value_name = "N|PERCENT")]
    pub(crate) max_added: Option<MaxAdded>,
    #[command(flatten)]
    pub(crate) registry: RegistryArgs,
    #[command(flatten)]
    pub(crate) event: EventArgs,
}

/// Options of `undo-import`.
#[derive(Debug, Args)]
pub(crate) struct UndoImport {
    /// The import, by the number that it answered: the sequence of its first event
    #[arg(value_name = "BATCH")]
    pub(crate) batch: u64,
    /// Why it should not have been loaded
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: String,
    /// Record nothing, only count
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// Where help lists the options of layers.
const LAYER: &str = "Layers: lists that somebody else keeps";

/// What is said of an outside list. Its rows are no events: what events have is refused.
#[derive(Debug, Args)]
pub(crate) struct RegistryArgs {
    /// Make the lists one layer of this name, such as us-dnc, instead of opt-outs
    ///
    /// A whole list takes the place of the layer's present one, a list of changes (us-change) is
    /// applied to it. --channel says on which channel alone it counts.
    #[arg(
        long,
        value_name = "NAME",
        help_heading = LAYER,
        requires = "as_of",
        conflicts_with_all = [
            "at_column", "region_column", "template_column", "campaign_column", "max_added", "at", "source", "sender", "brand", "tier", "word",
            "campaign", "message_id", "note",
        ]
    )]
    pub(crate) layer: Option<RegistryName>,
    /// The moment that the lists describe: RFC 3339, or a date
    #[arg(long, value_name = "TIME", help_heading = LAYER, requires = "layer")]
    pub(crate) as_of: Option<String>,
    /// After how many days the layer is too old, such as 31d; needed once for a registry
    #[arg(long, value_name = "DAYS", help_heading = LAYER, requires = "layer", value_parser = days)]
    pub(crate) max_age: Option<u32>,
    /// registry: do not contact these people; consent: these people agreed. registry if not given
    #[arg(long, value_name = "KIND", help_heading = LAYER, requires = "layer", value_enum)]
    pub(crate) kind: Option<Kind>,
    /// How the lists are written: auto, us-full (201,5551234), us-change, lines, csv
    #[arg(
        long,
        value_name = "FORMAT",
        help_heading = LAYER,
        requires = "layer",
        default_value = "auto"
    )]
    pub(crate) format: RegistryFormat,
    /// Refuse a list by which the layer loses more of its members than this
    #[arg(
        long,
        value_name = "PERCENT",
        help_heading = LAYER,
        requires = "layer",
        value_parser = percent,
        default_value = "10%"
    )]
    pub(crate) max_shrink: u8,
    /// Take a list that is older than the present one
    #[arg(long, help_heading = LAYER, requires = "layer")]
    pub(crate) allow_older: bool,
}

/// What being on a layer means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    Registry,
    Consent,
}

/// Options of `layers`.
#[derive(Debug, Args)]
pub(crate) struct Layers {
    /// Take this layer away
    #[arg(long, value_name = "NAME", requires = "reason")]
    pub(crate) drop: Option<RegistryName>,
    /// Why it is taken away
    #[arg(long, value_name = "TEXT", requires = "drop")]
    pub(crate) reason: Option<String>,
}

/// Which message is about to be sent.
#[derive(Debug, Args)]
pub(crate) struct ContextArgs {
    /// The category of the message: marketing, utility or authentication. An opt-out from
    /// marketing does not stop the other two
    #[arg(long, default_value = "marketing", value_name = "CATEGORY")]
    pub(crate) category: String,
    #[command(flatten)]
    pub(crate) scope: ScopeArgs,
    /// Another table of rules than the built-in one; see docs/verdict.md
    #[arg(long, env = "OPTOUT_POLICY", value_name = "FILE")]
    pub(crate) policy: Option<PathBuf>,
}

/// What is done when an outside list is stale.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum StaleChoice {
    Refuse,
    Warn,
}

/// Options of `scrub`.
#[derive(Debug, Args)]
pub(crate) struct Scrub {
    /// The recipient lists: CSV with any delimiter, or one number a line; - is standard input
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// Where the kept rows go; - is standard output. A folder when there are several lists
    #[arg(long, short, value_name = "OUT")]
    pub(crate) output: Option<PathBuf>,
    /// The column of the numbers, by name or by index from 1; found by its header if not given
    #[arg(long, value_name = "NAME|INDEX")]
    pub(crate) column: Option<String>,
    /// The region of national numbers, such as MX
    #[arg(long, value_parser = region)]
    pub(crate) region: Option<Region>,
    /// The column that has the region of each number
    #[arg(long, value_name = "NAME|INDEX")]
    pub(crate) region_column: Option<String>,
    #[command(flatten)]
    pub(crate) context: ContextArgs,
    /// When an outside list is older than it may be: refuse, or warn and go on
    #[arg(long, value_enum, default_value_t = StaleChoice::Refuse, value_name = "WHAT")]
    pub(crate) stale: StaleChoice,
    #[command(flatten)]
    pub(crate) as_of: AsOfArgs,
    /// enforce takes rows out; report keeps every row and only counts; off asks nobody
    #[arg(long, value_enum, default_value_t = Mode::Enforce)]
    pub(crate) mode: Mode,
    /// Refuse, and write nothing, when more rows than this are suppressed: 20%, or a count
    #[arg(long, value_name = "LIMIT")]
    pub(crate) max_suppressed: Option<String>,
    /// Keep only the first of several rows with the same number
    #[arg(long)]
    pub(crate) dedupe: bool,
    /// Write the rows of those who opted out to this file, with since when and by which source
    #[arg(long, value_name = "FILE")]
    pub(crate) suppressed: Option<PathBuf>,
    /// Write the rows without a readable number to this file, with line and reason
    #[arg(long, value_name = "FILE")]
    pub(crate) invalid: Option<PathBuf>,
    /// Write the report to this file, as JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) report: Option<PathBuf>,
    /// Write a receipt to this file, and beside it (FILE.rows) what `recheck` needs to find
    /// single rows again. A folder when there are several lists: NAME.receipt for each
    #[arg(long, value_name = "FILE")]
    pub(crate) receipt: Option<PathBuf>,
    /// Replace existing output files
    #[arg(long)]
    pub(crate) force: bool,
}

/// Options of `recheck`.
#[derive(Debug, Args)]
pub(crate) struct Recheck {
    /// The receipt that `scrub --receipt` wrote; RECEIPT.rows has to lie beside it
    #[arg(value_name = "RECEIPT")]
    pub(crate) receipt: PathBuf,
    /// The list that was scrubbed, or what was kept of it
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Where the rows go that stand differently; standard output if not given
    #[arg(long, short, value_name = "OUT")]
    pub(crate) output: Option<PathBuf>,
    /// The table of rules by which the list was scrubbed, if not the built-in one
    #[arg(long, env = "OPTOUT_POLICY", value_name = "FILE")]
    pub(crate) policy: Option<PathBuf>,
    /// When an outside list is older than it may be: refuse, or warn and go on
    #[arg(long, value_enum, default_value_t = StaleChoice::Refuse, value_name = "WHAT")]
    pub(crate) stale: StaleChoice,
    /// Exit with 10 if any row must not be sent to any more
    #[arg(long)]
    pub(crate) exit_status: bool,
    /// Write the report to this file, as JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) report: Option<PathBuf>,
    /// Replace existing output files
    #[arg(long)]
    pub(crate) force: bool,
}

/// What `scrub` does with the verdicts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mode {
    Enforce,
    Report,
    Off,
}

/// Options of `check`.
#[derive(Debug, Args)]
pub(crate) struct Check {
    /// The numbers, in any spelling; - reads one a line from standard input
    #[arg(required = true, value_name = "NUMBER")]
    pub(crate) numbers: Vec<String>,
    /// The region of national numbers, such as MX
    #[arg(long, value_parser = region)]
    pub(crate) region: Option<Region>,
    /// Exit with 10 if any of them is not allowed
    #[arg(long)]
    pub(crate) exit_status: bool,
    #[command(flatten)]
    pub(crate) context: ContextArgs,
    /// When an outside list is older than it may be: refuse, or warn and go on
    #[arg(long, value_enum, default_value_t = StaleChoice::Refuse, value_name = "WHAT")]
    pub(crate) stale: StaleChoice,
    #[command(flatten)]
    pub(crate) as_of: AsOfArgs,
}

/// Options of `why`.
#[derive(Debug, Args)]
pub(crate) struct Why {
    /// The number, in any spelling
    #[arg(value_name = "NUMBER")]
    pub(crate) number: String,
    /// The region of a national number, such as MX
    #[arg(long, value_parser = region)]
    pub(crate) region: Option<Region>,
    #[command(flatten)]
    pub(crate) context: ContextArgs,
    #[command(flatten)]
    pub(crate) as_of: AsOfArgs,
}

/// At which moment a store is asked.
#[derive(Debug, Args)]
pub(crate) struct AsOfArgs {
    /// As the store knew it at this moment, layers included: RFC 3339, or a date
    #[arg(long = "at", visible_alias = "as-of", value_name = "TIME")]
    pub(crate) at: Option<String>,
    /// The zone of a time without an offset
    #[arg(long, value_parser = Zone::parse, default_value = "UTC", value_name = "ZONE")]
    pub(crate) tz: Zone,
}

impl AsOfArgs {
    /// The moment; `None` for now.
    pub(crate) fn moment(&self) -> Result<Option<Timestamp>, crate::exit::UsageError> {
        moment(&self.at, &self.tz)
    }
}

/// Options of `diff`.
#[derive(Debug, Args)]
pub(crate) struct Diff {
    /// The earlier moment: a sequence, or a time as the store knew it then: RFC 3339, or a date.
    /// Or a set of numbers: a .roaring file
    #[arg(value_name = "FROM")]
    pub(crate) from: String,
    /// The later moment, or the other set
    #[arg(value_name = "TO")]
    pub(crate) to: String,
    /// The zone of a time without an offset
    #[arg(long, value_parser = Zone::parse, default_value = "UTC", value_name = "ZONE")]
    pub(crate) tz: Zone,
    /// Only how many there are
    #[arg(long)]
    pub(crate) count: bool,
}

/// A range of dates.
#[derive(Debug, Args)]
pub(crate) struct RangeArgs {
    /// The first moment: RFC 3339, or a date
    #[arg(long, value_name = "TIME")]
    pub(crate) from: Option<String>,
    /// The first moment that is past the end: RFC 3339, or a date
    #[arg(long, value_name = "TIME")]
    pub(crate) to: Option<String>,
    /// The zone of dates, and of days when counting
    #[arg(long, value_parser = Zone::parse, default_value = "UTC", value_name = "ZONE")]
    pub(crate) tz: Zone,
    /// Whether the range is of moments at which persons acted or at which they were recorded
    #[arg(long, value_enum, default_value_t = Clock::Received)]
    pub(crate) clock: Clock,
    /// Only events of this source
    #[arg(long, value_parser = source)]
    pub(crate) source: Option<Source>,
}

/// By which moments a range goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Clock {
    Occurred,
    Received,
}

/// Options of `export`.
#[derive(Debug, Args)]
pub(crate) struct Export {
    #[command(flatten)]
    pub(crate) range: RangeArgs,
    /// Every event, or one row for each number opted out in the range and still so at its end
    #[arg(long, value_enum, default_value_t = View::Events)]
    pub(crate) view: View,
    /// csv, ndjson, xlsx (a spreadsheet), or roaring (the keys of --view state as a set); by the
    /// file's name if not given
    #[arg(long, value_name = "FORMAT")]
    pub(crate) format: Option<String>,
    /// Where it goes; - is standard output
    #[arg(long, short, value_name = "FILE", default_value = "-")]
    pub(crate) output: PathBuf,
    /// Show only the first and last digits of numbers
    #[arg(long)]
    pub(crate) mask: bool,
    /// Replace an existing output file
    #[arg(long)]
    pub(crate) force: bool,
}

/// What `export` writes a row for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum View {
    Events,
    State,
}

/// Options of `stats`.
#[derive(Debug, Args)]
pub(crate) struct Stats {
    #[command(flatten)]
    pub(crate) range: RangeArgs,
    /// What to count by; without it, the whole range, or an overview of the store
    #[arg(long, value_enum)]
    pub(crate) by: Option<By>,
    /// How many messages a group was sent, for its rate of opt-outs; can be given again
    #[arg(long, value_name = "GROUP=COUNT")]
    pub(crate) sent: Vec<String>,
}

/// What `stats` counts by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum By {
    Day,
    Week,
    Month,
    Source,
    Country,
    Campaign,
    Template,
    Sender,
    Word,
}

/// Options of `normalize`.
#[derive(Debug, Args)]
pub(crate) struct Normalize {
    /// The region of national numbers, such as MX
    #[arg(long, value_parser = region, conflicts_with = "regions")]
    pub(crate) region: Option<Region>,
    /// Each line is a number, a tab, and its region, which may be empty
    #[arg(long)]
    pub(crate) regions: bool,
    /// Write the subscriber key instead of the number
    #[arg(long, conflicts_with = "strict")]
    pub(crate) key: bool,
    /// libphonenumber's reading alone: nothing cleaned, retried or folded
    #[arg(long)]
    pub(crate) strict: bool,
    /// Keys as in a store with tier 2 of the fold table
    #[arg(long, conflicts_with = "strict")]
    pub(crate) tier2: bool,
}

/// Options of `detect`.
#[derive(Debug, Args)]
pub(crate) struct Detect {
    /// The messages; without any, one a line on standard input
    ///
    /// A line is plain text, with line breaks written as \\n, or a JSON object with text, and with
    /// button or preference (stop, resume) if there was one.
    pub(crate) text: Vec<String>,
    /// A table of further words and phrases; docs/intent.md has its form
    #[arg(long, value_name = "FILE")]
    pub(crate) words: Option<PathBuf>,
}

/// Options of `completions`.
#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// For which shell
    #[arg(value_enum)]
    pub(crate) shell: clap_complete::Shell,
}

fn region(text: &str) -> Result<Region, optout::number::UnknownRegion> {
    Region::parse(text)
}

fn source(text: &str) -> Result<Source, optout::event::UnknownWord> {
    text.parse()
}

/// A ground that can be given by hand; erasure is no option but a deed.
fn ground(text: &str) -> Result<Ground, String> {
    match text.parse() {
        Ok(Ground::Erasure) => Err("use request, legal, wrong-person or protected".to_owned()),
        Ok(ground) => Ok(ground),
        Err(error) => Err(error.to_string()),
    }
}

fn days(text: &str) -> Result<u32, String> {
    let days = text.strip_suffix('d').unwrap_or(text).parse().ok();
    days.filter(|&days| days > 0).ok_or_else(|| "write days as 31d".to_owned())
}

fn percent(text: &str) -> Result<u8, String> {
    let percent = text.strip_suffix('%').unwrap_or(text).trim().parse().ok();
    percent.filter(|&it| it <= 100).ok_or_else(|| "write a percentage as 10%".to_owned())
}

fn tier(text: &str) -> Result<Tier, optout::event::UnknownWord> {
    text.parse()
}

impl RangeArgs {
    /// A moment of the range, read in its zone.
    pub(crate) fn moment(
        &self,
        text: &Option<String>,
    ) -> Result<Option<Timestamp>, crate::exit::UsageError> {
        moment(text, &self.tz)
    }
}

/// Reads a time option.
pub(crate) fn moment(
    text: &Option<String>,
    zone: &Zone,
) -> Result<Option<Timestamp>, crate::exit::UsageError> {
    text.as_ref()
        .map(|text| Timestamp::parse(text, zone))
        .transpose()
        .map_err(|error| crate::exit::UsageError(error.to_string()))
}
