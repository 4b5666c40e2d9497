//! The batch lookups, compiled for the processor that runs them.
//!
//! A program for every x86-64 counts bits by hand and compares 16 bytes at once. Here the same
//! code is compiled a second time for what nearly all of them have by now, and that one is called
//! where the processor says that it can run it. Promises the same answers from both.

use super::batch;
use super::directory::Directory;
use crate::number::SubscriberKey;

/// Makes a function of a batch lookup, which has to be inlined, that calls it compiled for this
/// processor.
macro_rules! widely {
    ($name:ident, $answer:ty) => {
        pub(super) fn $name(
            directory: &Directory,
            bytes: &[u8],
            keys: &[SubscriberKey],
            answers: &mut [$answer],
        ) {
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
                fn wide(
                    directory: &Directory,
                    bytes: &[u8],
                    keys: &[SubscriberKey],
                    answers: &mut [$answer],
                ) {
                    batch::$name(directory, bytes, keys, answers);
                }
                if is_wide() {
                    #[expect(unsafe_code, reason = "only a call can say that a feature is there")]
                    // SAFETY: `is_wide` has found every feature that the function is compiled for.
                    return unsafe { wide(directory, bytes, keys, answers) };
                }
            }
            batch::$name(directory, bytes, keys, answers);
        }
    };
}

widely!(contains, bool);
widely!(positions, Option<u64>);

#[cfg(target_arch = "x86_64")]
fn is_wide() -> bool {
    is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("bmi1")
        && is_x86_feature_detected!("bmi2")
        && is_x86_feature_detected!("lzcnt")
        && is_x86_feature_detected!("popcnt")
}
