//! The picture of a question, decoded for real, and what can be measured in it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// What the stand-in sees.
#[derive(Debug, Clone, PartialEq)]
pub struct Picture {
    pub mime: String,
    pub width: u32,
    pub height: u32,
    /// Mean of red, green and blue, 0 to 255.
    pub mean: [f64; 3],
    /// Of the encoded file.
    pub bytes: usize,
    /// The encoded file.
    pub file: Vec<u8>,
}

impl Picture {
    /// Reads `data:<mime>;base64,<standard base64>`; the file must be whole and of the type it is declared as.
    pub fn from_data_url(link: &str) -> Result<Self, String> {
        let (mime, data) = link
            .strip_prefix("data:")
            .and_then(|rest| rest.split_once(";base64,"))
            .ok_or("image_url is not a base64 data URL; this endpoint fetches no links")?;
        let file = STANDARD.decode(data).map_err(|error| format!("Invalid base64 image: {error}"))?;
        let format = image::guess_format(&file).map_err(|_| "Failed to load image: not a picture")?;
        if format.to_mime_type() != mime {
            return Err(format!("The picture is {}, but was declared as {mime}", format.to_mime_type()));
        }
        let decoded = image::load_from_memory_with_format(&file, format).map_err(|error| format!("Failed to load image: {error}"))?;
        let rgb = decoded.to_rgb8();
        let mut sums = [0_u64; 3];
        for pixel in rgb.pixels() {
            for (sum, &value) in sums.iter_mut().zip(&pixel.0) {
                *sum += u64::from(value);
            }
        }
        let count = f64::from(rgb.width()) * f64::from(rgb.height());
        let mean = sums.map(|sum| sum as f64 / count.max(1.0));
        Ok(Self { mime: mime.to_owned(), width: rgb.width(), height: rgb.height(), mean, bytes: file.len(), file })
    }

    /// 0 for black to 100 for white.
    pub fn brightness(&self) -> f64 {
        (0.2126 * self.mean[0] + 0.7152 * self.mean[1] + 0.0722 * self.mean[2]) / 2.55
    }

    /// `bright`, `medium` or `dark`.
    pub fn light(&self) -> &'static str {
        match self.brightness() {
            level if level >= 60.0 => "bright",
            level if level >= 30.0 => "medium",
            _ => "dark",
        }
    }

    pub fn hex(&self) -> String {
        let [red, green, blue] = self.mean.map(|value| value.round() as u8);
        format!("#{red:02x}{green:02x}{blue:02x}")
    }

    /// The everyday name nearest to the mean colour.
    pub fn colour(&self) -> &'static str {
        let distance = |(_, rgb): &&(&str, [f64; 3])| {
            let sum: f64 = rgb.iter().zip(&self.mean).map(|(a, b)| (a - b) * (a - b)).sum();
            sum as u64
        };
        COLOURS.iter().min_by_key(distance).map_or("grey", |(name, _)| name)
    }
}

/// Everyday names of colours.
pub(super) const COLOURS: [(&str, [f64; 3]); 11] = [
    ("black", [0.0, 0.0, 0.0]),
    ("white", [255.0, 255.0, 255.0]),
    ("grey", [128.0, 128.0, 128.0]),
    ("red", [220.0, 30.0, 30.0]),
    ("green", [30.0, 180.0, 40.0]),
    ("blue", [30.0, 50.0, 220.0]),
    ("yellow", [235.0, 220.0, 40.0]),
    ("orange", [240.0, 140.0, 20.0]),
    ("cyan", [30.0, 210.0, 220.0]),
    ("magenta", [220.0, 30.0, 210.0]),
    ("brown", [120.0, 75.0, 35.0]),
];
