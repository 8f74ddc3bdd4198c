//! When a camera that was just started shows the scene as it is: its first frames are too dark or too bright until the
//! exposure control has found its way.

/// Brightness may differ by so much, of 255, between two frames of a settled exposure.
const STEADY: f64 = 2.0;

/// So many frames in a row must be alike.
const ALIKE: u32 = 3;

/// Watches the mean brightness of frames, one after the other.
#[derive(Debug, Default)]
pub(super) struct Exposure {
    last: Option<f64>,
    alike: u32,
}

impl Exposure {
    /// Takes the next frame's mean brightness, 0 to 255, and says whether the exposure has settled.
    pub(super) fn settled(&mut self, mean: f64) -> bool {
        self.alike = match self.last {
            Some(last) if (last - mean).abs() <= STEADY => self.alike + 1,
            _ => 1,
        };
        self.last = Some(mean);
        self.alike >= ALIKE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames_until_settled(means: &[f64]) -> Option<usize> {
        let mut exposure = Exposure::default();
        means.iter().position(|&mean| exposure.settled(mean))
    }

    #[test]
    fn a_ramp_is_waited_out() {
        assert_eq!(frames_until_settled(&[0.0, 30.0, 70.0, 104.0, 118.0, 120.0, 120.5, 121.0]), Some(6));
    }

    #[test]
    fn a_steady_picture_settles_with_the_third_frame() {
        assert_eq!(frames_until_settled(&[90.0; 5]), Some(2));
    }

    #[test]
    fn flicker_never_settles() {
        assert_eq!(frames_until_settled(&[90.0, 100.0, 90.0, 100.0, 90.0, 100.0]), None);
    }

    #[test]
    fn a_slow_drift_counts_as_settled_and_a_jump_begins_anew() {
        assert_eq!(frames_until_settled(&[90.0, 91.5, 60.0, 61.0, 62.0]), Some(4));
    }
}
