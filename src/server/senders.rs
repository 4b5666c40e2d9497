//! Which senders are set up, and how does the server read their replies?
//!
//! [`CaptureFile`] keeps the settings of senders in `capture.json`; [`Senders`] are those that the
//! server works by, each with its detector. Promises: settings that can't be worked with are never
//! kept; two senders that could be taken for each other neither. Leaves to others what follows
//! from a reply (`capture`), and when the file is read again (`service`).

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::capture::{SenderSettings, SettingsError};
use crate::disk::Disk;
use crate::intent::Detector;
use crate::store::SideError;
use crate::store::layout::{self, SideNames};
use crate::store::side::{SideFile, SideList};

/// Senders that may be set up: each with words of its own takes some megabytes.
const SENDERS_MAX: usize = 256;

/// Why settings of a sender could not be read or changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CaptureError {
    /// The list could not be read or changed.
    #[error(transparent)]
    List(#[from] SideError),
    /// Settings that can't stand.
    #[error("{}", joined(.0))]
    Settings(Vec<SettingsError>),
    /// Another sender has one of the names on the channel.
    #[error("the sender {sender} has this name, or this provider's name, on the same channel")]
    Taken {
        /// The other.
        sender: String,
    },
    /// No sender is called so.
    #[error("no sender is called so: see the list of senders")]
    Unknown,
    /// Several are.
    #[error("senders on several channels are called so: name the channel")]
    Ambiguous,
    /// There are too many.
    #[error("there are 256 senders already")]
    TooMany,
}

fn joined(errors: &[SettingsError]) -> String {
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// The settings of a store's senders, on its disk.
#[derive(Clone, Debug)]
pub struct CaptureFile {
    file: SideFile<List>,
}

impl CaptureFile {
    /// The settings of the store on a disk.
    ///
    /// # Errors
    ///
    /// When there is no store.
    pub fn open(disk: Arc<dyn Disk>) -> Result<CaptureFile, CaptureError> {
        Ok(CaptureFile { file: SideFile::open(disk)? })
    }

    /// The settings of every sender, with their secrets.
    ///
    /// # Errors
    ///
    /// When the list is damaged or can't be read.
    pub fn list(&self) -> Result<Vec<SenderSettings>, CaptureError> {
        Ok(self.file.read()?.senders)
    }

    /// The settings of the sender with a name, on a channel if several channels have it.
    ///
    /// # Errors
    ///
    /// When there is none, or more than one, or the list can't be read.
    pub fn get(&self, name: &str, channel: Option<&str>) -> Result<SenderSettings, CaptureError> {
        let senders = self.list()?;
        Ok(senders[place(&senders, name, channel)?].clone())
    }

    /// Keeps the settings of a sender, in the place of those that it had. Secrets that are missing,
    /// or only shown as set, stay as they were.
    ///
    /// # Errors
    ///
    /// When the settings can't stand, or the list can't be changed. It is then as it was.
    pub fn set(&self, settings: &SenderSettings) -> Result<SenderSettings, CaptureError> {
        self.file.change(|list| {
            let before = list.senders.iter().position(|it| is_same(it, settings));
            let mut settings = settings.clone();
            if let Some(before) = before {
                settings.keep_secrets_of(&list.senders[before]);
            }
            check(&list.senders, before, &settings)?;
            match before {
                Some(before) => list.senders[before] = settings.clone(),
                None if list.senders.len() >= SENDERS_MAX => return Err(CaptureError::TooMany),
                None => list.senders.push(settings.clone()),
            }
            Ok(settings)
        })
    }

    /// Changes the settings of a sender, under one lock.
    ///
    /// # Errors
    ///
    /// As [`CaptureFile::get`] and [`CaptureFile::set`].
    pub fn change(
        &self,
        name: &str,
        channel: Option<&str>,
        apply: impl FnOnce(&mut SenderSettings),
    ) -> Result<SenderSettings, CaptureError> {
        self.file.change(|list| {
            let at = place(&list.senders, name, channel)?;
            let mut settings = list.senders[at].clone();
            apply(&mut settings);
            check(&list.senders, Some(at), &settings)?;
            list.senders[at] = settings.clone();
            Ok(settings)
        })
    }

    /// Takes a sender out.
    ///
    /// # Errors
    ///
    /// As [`CaptureFile::get`], or when the list can't be changed.
    pub fn remove(
        &self,
        name: &str,
        channel: Option<&str>,
    ) -> Result<SenderSettings, CaptureError> {
        self.file.change(|list| {
            let at = place(&list.senders, name, channel)?;
            Ok(list.senders.remove(at))
        })
    }

    /// The list as it stands on the disk; `None` when there is none.
    pub(super) fn bytes(&self) -> Result<Option<Vec<u8>>, CaptureError> {
        Ok(self.file.bytes().map_err(SideError::from)?)
    }

    /// The senders behind the bytes of the list. Those whose words are as they were keep their
    /// detector.
    pub(super) fn senders(
        &self,
        bytes: Option<&[u8]>,
        before: &Senders,
    ) -> Result<Senders, CaptureError> {
        let list = self.file.parse(bytes)?;
        let senders = list.senders.into_iter().map(|settings| {
            let known = before.all.iter().find(|it| it.settings.words == settings.words);
            let own = match known {
                Some(known) => known.own.clone(),
                None => settings
                    .detector()
                    .map_err(|error| CaptureError::Settings(vec![SettingsError::words(&error)]))?
                    .map(Arc::new),
            };
            Ok(Arc::new(Sender { settings, own }))
        });
        Ok(Senders { all: senders.collect::<Result<_, CaptureError>>()? })
    }
}

fn is_same(one: &SenderSettings, other: &SenderSettings) -> bool {
    one.channel == other.channel && one.is_meant(&other.channel, &other.sender)
}

fn place(
    senders: &[SenderSettings],
    name: &str,
    channel: Option<&str>,
) -> Result<usize, CaptureError> {
    let is_meant = |it: &SenderSettings| it.is_meant(channel.unwrap_or_default(), name);
    let mut places = (0..senders.len()).filter(|&at| is_meant(&senders[at]));
    let place = places.next().ok_or(CaptureError::Unknown)?;
    places.next().map_or(Ok(place), |_| Err(CaptureError::Ambiguous))
}

/// Whether settings can stand beside those of the others.
fn check(
    senders: &[SenderSettings],
    own: Option<usize>,
    settings: &SenderSettings,
) -> Result<(), CaptureError> {
    let errors = settings.check();
    if !errors.is_empty() {
        return Err(CaptureError::Settings(errors));
    }
    let mut others = senders.iter().enumerate().filter(|&(at, _)| Some(at) != own);
    match others.find(|(_, other)| settings.collides(other)) {
        Some((_, other)) => Err(CaptureError::Taken { sender: other.sender.clone() }),
        None => Ok(()),
    }
}

/// `capture.json`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    version: u32,
    senders: Vec<SenderSettings>,
}

impl SideList for List {
    const NAMES: SideNames = layout::CAPTURE;
    const WHAT: &'static str = "list of senders";
    const VERSION: u32 = 1;
    const BYTES_MAX: u64 = 32 << 20;

    fn empty() -> List {
        List { version: List::VERSION, senders: Vec::new() }
    }

    fn version(&self) -> u32 {
        self.version
    }
}

/// A sender as the server works by it.
#[derive(Debug)]
pub(super) struct Sender {
    pub(super) settings: SenderSettings,
    /// With words of its own.
    own: Option<Arc<Detector>>,
}

impl Sender {
    pub(super) fn detector(&self) -> &Detector {
        self.own.as_deref().unwrap_or_else(|| Detector::built_in())
    }
}

/// The senders as the server works by them.
#[derive(Debug, Default)]
pub(super) struct Senders {
    all: Vec<Arc<Sender>>,
}

impl Senders {
    pub(super) fn all(&self) -> &[Arc<Sender>] {
        &self.all
    }

    /// The sender that is meant by a channel and a name; `None` when nobody knows it, or when
    /// without a channel it could be several.
    pub(super) fn find(&self, channel: &str, name: &str) -> Option<&Arc<Sender>> {
        let mut found = self.all.iter().filter(|it| it.settings.is_meant(channel, name));
        found.next().filter(|_| found.next().is_none())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::{Provider, Secret};
    use crate::disk::MemoryDisk;
    use crate::number::Folding;
    use crate::store::{Writer, init_on};
    use crate::time::Timestamp;

    fn file() -> (Arc<MemoryDisk>, CaptureFile) {
        let disk = Arc::new(MemoryDisk::new());
        init_on(&*disk, Folding::default(), Timestamp::default()).unwrap();
        (disk.clone(), CaptureFile::open(disk).unwrap())
    }

    fn senders(file: &CaptureFile, before: &Senders) -> Senders {
        file.senders(file.bytes().unwrap().as_deref(), before).unwrap()
    }

    #[test]
    fn settings_are_kept_changed_and_taken_out() {
        let (disk, file) = file();
        assert!(file.list().unwrap().is_empty());
        let mut shop = SenderSettings::new("shop", "whatsapp");
        shop.provider = Provider::Generic { secret: Secret::new("a-good-secret") };
        file.set(&shop).unwrap();
        drop(Writer::open_on(disk).unwrap());
        assert_eq!(file.get("SHOP", None).unwrap(), shop);
        shop.brand = "acme".to_owned();
        let kept = file.set(&SenderSettings { brand: "acme".to_owned(), ..shop.shown() }).unwrap();
        assert_eq!(kept, shop, "the secret stays");
        let on = file.change("shop", None, |it| it.capture = true);
        assert!(matches!(on, Err(CaptureError::Settings(errors)) if errors[0].field == "language"));
        assert!(!file.get("shop", None).unwrap().capture);
        file.remove("shop", Some("whatsapp")).unwrap();
        assert!(matches!(file.remove("shop", None), Err(CaptureError::Unknown)));
    }

    #[test]
    fn senders_that_could_be_confused_are_refused() {
        let (_, file) = file();
        file.set(&SenderSettings::new("shop", "whatsapp")).unwrap();
        let mut other = SenderSettings::new("other", "whatsapp");
        other.provider_id = "Shop".to_owned();
        assert!(matches!(file.set(&other), Err(CaptureError::Taken { .. })));
        file.set(&SenderSettings::new("shop", "sms")).unwrap();
        assert!(matches!(file.get("shop", None), Err(CaptureError::Ambiguous)));
        assert_eq!(file.get("shop", Some("sms")).unwrap().channel, "sms");
        let live = senders(&file, &Senders::default());
        assert!(live.find("", "shop").is_none() && live.find("sms", "shop").is_some());
    }

    #[test]
    fn detectors_outlive_a_change_of_something_else_and_damage_is_an_error() {
        let (disk, file) = file();
        let mut shop = SenderSettings::new("shop", "whatsapp");
        shop.words = "lone.opt_out\txyzzy".to_owned();
        file.set(&shop).unwrap();
        let one = senders(&file, &Senders::default());
        file.change("shop", None, |it| it.brand = "acme".to_owned()).unwrap();
        let two = senders(&file, &one);
        let own = |it: &Senders| it.all()[0].own.clone().unwrap();
        assert!(Arc::ptr_eq(&own(&one), &own(&two)));
        assert_eq!(two.all()[0].detector().read("xyzzy").rule, "lone_word");
        disk.put(layout::CAPTURE.file, b"{\"version\":1}".to_vec());
        assert!(file.list().is_err());
        assert!(file.senders(file.bytes().unwrap().as_deref(), &two).is_err());
    }
}
