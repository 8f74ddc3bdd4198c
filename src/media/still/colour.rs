//! Colour profiles: what a file's numbers mean, in sRGB.

use std::sync::Arc;

use moxcms::{ColorProfile, DataColorSpace, Layout, Transform8BitExecutor, TransformOptions};

/// Differences up to this, of 255, nobody sees: a profile that changes no colour by more is sRGB under another name.
const UNSEEN: u8 = 4;

/// What the samples of a picture are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Samples {
    /// One lightness.
    Grey,
    /// Red, green, blue.
    Light,
    /// Cyan, magenta, yellow, black; 255 is all of it.
    Ink,
}

impl Samples {
    fn layout(self) -> (Layout, DataColorSpace, usize) {
        match self {
            Self::Grey => (Layout::Gray, DataColorSpace::Gray, 1),
            Self::Light => (Layout::Rgb, DataColorSpace::Rgb, 3),
            Self::Ink => (Layout::Rgba, DataColorSpace::Cmyk, 4),
        }
    }
}

/// The way from a file's colours to sRGB.
pub(super) struct Conversion {
    transform: Arc<Transform8BitExecutor>,
    samples: Samples,
}

impl Conversion {
    /// By the profile in a file. `None` where the file means sRGB, or where its profile cannot be read or is one for other
    /// samples: then the numbers are shown as they are, which is what browsers do.
    pub(super) fn new(profile: Option<&[u8]>, samples: Samples) -> Option<Self> {
        let profile = ColorProfile::new_from_slice(profile?).ok()?;
        let (layout, space, _) = samples.layout();
        if profile.color_space != space {
            return None;
        }
        let srgb = ColorProfile::new_srgb();
        let transform = profile.create_transform_8bit(layout, &srgb, Layout::Rgb, TransformOptions::default()).ok()?;
        let conversion = Self { transform, samples };
        conversion.is_seen().then_some(conversion)
    }

    /// Whether it changes any of some colours from all over the space.
    fn is_seen(&self) -> bool {
        const STEPS: [u8; 6] = [0, 51, 102, 153, 204, 255];
        let colours: Vec<u8> = match self.samples {
            Samples::Grey => STEPS.to_vec(),
            Samples::Light => {
                STEPS.iter().flat_map(|&r| STEPS.iter().flat_map(move |&g| STEPS.iter().flat_map(move |&b| [r, g, b]))).collect()
            }
            Samples::Ink => return true,
        };
        let Some(shown) = self.converted(&colours) else { return false };
        let each = if self.samples == Samples::Grey { 3 } else { 1 };
        let meant = colours.iter().flat_map(|&sample| std::iter::repeat_n(sample, each));
        shown.iter().zip(meant).any(|(shown, meant)| shown.abs_diff(meant) > UNSEEN)
    }

    /// sRGB pixels of samples as they stand in the file; `None` only where the samples do not fit.
    pub(super) fn converted(&self, samples: &[u8]) -> Option<Vec<u8>> {
        let (_, _, each) = self.samples.layout();
        let mut rgb = vec![0; samples.len() / each * 3];
        self.transform.transform(samples, &mut rgb).ok()?;
        Some(rgb)
    }

    /// As [`Conversion::converted`] of a picture that was made three samples a pixel without it.
    pub(super) fn apply(&self, rgb: Vec<u8>) -> Vec<u8> {
        let converted = match self.samples {
            Samples::Grey => self.converted(&rgb.iter().step_by(3).copied().collect::<Vec<u8>>()),
            Samples::Light => self.converted(&rgb),
            Samples::Ink => None,
        };
        converted.unwrap_or(rgb)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile(profile: ColorProfile) -> Vec<u8> {
        profile.encode().unwrap()
    }

    #[test]
    fn srgb_and_what_nobody_can_read_need_no_conversion() {
        let srgb = profile(ColorProfile::new_srgb());
        assert!(Conversion::new(Some(&srgb), Samples::Light).is_none());
        for odd in [None, Some(&b"no profile"[..]), Some(&srgb[..srgb.len() / 2])] {
            assert!(Conversion::new(odd, Samples::Light).is_none());
        }
        let wide = profile(ColorProfile::new_display_p3());
        assert!(Conversion::new(Some(&wide), Samples::Grey).is_none(), "a profile for colours says nothing of greys");
    }

    #[test]
    fn colours_of_wider_spaces_become_those_of_srgb() {
        for (wide, red) in [(ColorProfile::new_display_p3(), [215, 93, 31]), (ColorProfile::new_adobe_rgb(), [227, 100, 42])] {
            let wide = Conversion::new(Some(&profile(wide)), Samples::Light).unwrap();
            let shown = wide.apply(vec![200, 100, 50, 255, 255, 255, 0, 0, 0]);
            assert!(shown[..3].iter().zip(red).all(|(a, b)| a.abs_diff(b) <= 6), "{:?} is not {red:?}", &shown[..3]);
            assert!(shown[3..6].iter().all(|&light| light >= 253) && shown[6..].iter().all(|&light| light <= 2), "{shown:?}");
        }
    }
}
