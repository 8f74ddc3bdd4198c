//! From one frame's bytes, as a camera lays them out, to its brightness and to a JPEG.

use std::borrow::Cow;
use std::sync::LazyLock;

use crate::media::still::{self, Limits, encode};

use super::FourCc;

/// Formats that are understood, best liked first: a JPEG goes on as it is; raw pixels are encoded here.
pub const KNOWN: [FourCc; 11] = [
    FourCc(*b"MJPG"),
    FourCc(*b"JPEG"),
    FourCc(*b"YUYV"),
    FourCc(*b"UYVY"),
    FourCc(*b"YVYU"),
    FourCc(*b"NV12"),
    FourCc(*b"NV21"),
    FourCc(*b"YU12"),
    FourCc(*b"RGB3"),
    FourCc(*b"BGR3"),
    FourCc(*b"GREY"),
];

/// How a frame lies in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// Format of the pixels.
    pub format: FourCc,
    /// Pixels across.
    pub width: u32,
    /// Pixels down.
    pub height: u32,
    /// Bytes from one row to the next, of the first plane; 0 for rows without padding.
    pub stride: u32,
    /// How luma and colour differences make red, green and blue.
    pub colours: Colours,
}

/// The matrix and range of YUV pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Colours {
    /// BT.709 instead of BT.601.
    pub bt709: bool,
    /// 0 to 255 instead of 16 to 235.
    pub full_range: bool,
}

/// A frame that cannot be read: cut short, damaged, or of a size that its bytes do not have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unreadable(String);

fn unreadable(cause: impl ToString) -> Unreadable {
    Unreadable(cause.to_string())
}

/// Larger pictures are refused before anything is allocated.
const MAX_PIXELS: u64 = 200_000_000;

impl Layout {
    fn is_jpeg(&self) -> bool {
        matches!(&self.format.0, b"MJPG" | b"JPEG")
    }

    /// Bytes of a row of the first plane that hold pixels.
    fn row(&self) -> usize {
        let width = self.width as usize;
        match &self.format.0 {
            b"YUYV" | b"UYVY" | b"YVYU" => width.div_ceil(2) * 4,
            b"RGB3" | b"BGR3" => width * 3,
            _ => width,
        }
    }

    fn stride(&self) -> usize {
        if self.stride == 0 { self.row() } else { self.stride as usize }
    }

    /// Bytes that a whole frame has.
    fn size(&self) -> usize {
        let (stride, height) = (self.stride(), self.height as usize);
        match &self.format.0 {
            b"NV12" | b"NV21" => stride * height + stride * height.div_ceil(2),
            b"YU12" => stride * height + 2 * stride.div_ceil(2) * height.div_ceil(2),
            // The last row needs no padding.
            _ => stride * height.saturating_sub(1) + self.row(),
        }
    }

    fn check(&self, bytes: &[u8]) -> Result<(), Unreadable> {
        if self.width == 0 || self.height == 0 || u64::from(self.width) * u64::from(self.height) > MAX_PIXELS {
            return Err(Unreadable(format!("{}x{} is no size of a picture", self.width, self.height)));
        }
        if self.stride() < self.row() {
            return Err(Unreadable(format!("rows of {} bytes do not hold {} pixels", self.stride(), self.width)));
        }
        if bytes.len() < self.size() {
            return Err(Unreadable(format!("the frame has {} of its {} bytes", bytes.len(), self.size())));
        }
        Ok(())
    }
}

/// A frame's mean brightness, 0 to 255, from some of its pixels.
pub fn brightness(bytes: &[u8], layout: &Layout) -> Result<f64, Unreadable> {
    if layout.is_jpeg() {
        // An eighth of the size is decoded in a fraction of the time.
        let limits = Limits { max_pixels: MAX_PIXELS, max_side: 64, passthrough: false };
        let small = still::read(&with_tables(bytes), &limits).map_err(unreadable)?;
        return Ok(mean(small.rgb.iter().copied()));
    }
    layout.check(bytes)?;
    let (start, step) = match &layout.format.0 {
        b"YUYV" | b"YVYU" => (0, 2),
        b"UYVY" => (1, 2),
        // Green is most of what looks bright.
        b"RGB3" | b"BGR3" => (1, 3),
        _ => (0, 1),
    };
    let rows = bytes.chunks(layout.stride()).take(layout.height as usize).step_by(8);
    Ok(mean(rows.flat_map(|row| row[..layout.row().min(row.len())].iter().skip(start).step_by(step * 8).copied())))
}

fn mean(values: impl Iterator<Item = u8>) -> f64 {
    let (sum, count) = values.fold((0u64, 0u64), |(sum, count), value| (sum + u64::from(value), count + 1));
    sum as f64 / count.max(1) as f64
}

/// A frame as a JPEG without metadata, with its width and height. One that the camera made is passed on where it is
/// whole; raw pixels are encoded with `quality`.
pub fn jpeg(bytes: &[u8], layout: &Layout, quality: u8) -> Result<(Vec<u8>, u32, u32), Unreadable> {
    let (rgb, width, height) = if layout.is_jpeg() {
        let limits = Limits { max_pixels: MAX_PIXELS, max_side: u32::MAX, passthrough: true };
        let still = still::read(&with_tables(bytes), &limits).map_err(unreadable)?;
        if let Some(file) = still.passthrough {
            return Ok((file, still.width, still.height));
        }
        (still.rgb, still.width, still.height)
    } else {
        (rgb(bytes, layout)?, layout.width, layout.height)
    };
    let file = encode::jpeg(&rgb, width, height, quality).map_err(unreadable)?;
    Ok((file, width, height))
}

/// The standard's Huffman tables as segments of a JPEG: those that the encoder writes (ITU-T T.81, annex K.3).
static TABLES: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let written = encode::jpeg(&[0; 8 * 8 * 3], 8, 8, 90).unwrap_or_default();
    segments(&written).filter(|&(marker, _)| marker == HUFFMAN_TABLES).flat_map(|(_, at)| written[at].to_vec()).collect()
});

const HUFFMAN_TABLES: u8 = 0xc4;
const START_OF_SCAN: u8 = 0xda;

/// A camera's frame with the Huffman tables: motion JPEG may leave them out, as it knows only those of the standard.
fn with_tables(bytes: &[u8]) -> Cow<'_, [u8]> {
    let mut scan = None;
    for (marker, at) in segments(bytes) {
        match marker {
            HUFFMAN_TABLES => return bytes.into(),
            START_OF_SCAN => scan = Some(at.start),
            _ => {}
        }
    }
    // Whatever has no scan is refused by those who read it.
    scan.map_or(bytes.into(), |scan| [&bytes[..scan], TABLES.as_slice(), &bytes[scan..]].concat().into())
}

/// Marker and place of each segment up to the header of the first scan.
fn segments(bytes: &[u8]) -> impl Iterator<Item = (u8, std::ops::Range<usize>)> {
    let mut at = Some(2);
    std::iter::from_fn(move || {
        let start = at?;
        let &[0xff, marker, high, low] = bytes.get(start..start + 4)? else { return None };
        let end = start + 2 + usize::from(u16::from_be_bytes([high, low]));
        at = (marker != START_OF_SCAN).then_some(end);
        (end <= bytes.len()).then_some((marker, start..end))
    })
}

/// Raw pixels as RGB.
fn rgb(bytes: &[u8], layout: &Layout) -> Result<Vec<u8>, Unreadable> {
    layout.check(bytes)?;
    let (width, height, stride) = (layout.width as usize, layout.height as usize, layout.stride());
    let mut out = Vec::with_capacity(width * height * 3);
    let colour = |y, u, v| layout.colours.rgb(y, u, v);
    for line in 0..height {
        let row = &bytes[line * stride..];
        match &layout.format.0 {
            b"YUYV" => (0..width).for_each(|x| out.extend(colour(row[2 * x], row[x / 2 * 4 + 1], row[x / 2 * 4 + 3]))),
            b"YVYU" => (0..width).for_each(|x| out.extend(colour(row[2 * x], row[x / 2 * 4 + 3], row[x / 2 * 4 + 1]))),
            b"UYVY" => (0..width).for_each(|x| out.extend(colour(row[2 * x + 1], row[x / 2 * 4], row[x / 2 * 4 + 2]))),
            b"NV12" | b"NV21" => {
                let pairs = &bytes[stride * height + line / 2 * stride..];
                let (u, v) = if layout.format.0 == *b"NV12" { (0, 1) } else { (1, 0) };
                (0..width).for_each(|x| out.extend(colour(row[x], pair(pairs, x, u), pair(pairs, x, v))));
            }
            b"YU12" => {
                let (half, rows) = (stride.div_ceil(2), height.div_ceil(2));
                let u = &bytes[stride * height + line / 2 * half..];
                let v = &bytes[stride * height + (rows + line / 2) * half..];
                (0..width).for_each(|x| out.extend(colour(row[x], u[x / 2], v[x / 2])));
            }
            b"RGB3" => out.extend_from_slice(&row[..width * 3]),
            b"BGR3" => row[..width * 3].chunks_exact(3).for_each(|pixel| out.extend([pixel[2], pixel[1], pixel[0]])),
            b"GREY" => row[..width].iter().for_each(|&grey| out.extend([grey; 3])),
            _ => return Err(Unreadable(format!("format {} is not understood", layout.format))),
        }
    }
    Ok(out)
}

/// A colour difference of a row of pairs; a row of odd width may end in half a pair.
fn pair(pairs: &[u8], x: usize, which: usize) -> u8 {
    pairs.get(x / 2 * 2 + which).copied().unwrap_or(128)
}

impl Colours {
    /// In 16.16 fixed point.
    fn rgb(self, y: u8, u: u8, v: u8) -> [u8; 3] {
        let (luma, chroma) = if self.full_range { (65_536, 65_536) } else { (76_309, 74_606) };
        let (red_v, green_u, green_v, blue_u) =
            if self.bt709 { (103_206, 12_276, 30_679, 121_609) } else { (91_881, 22_554, 46_802, 116_130) };
        let y = (i64::from(y) - if self.full_range { 0 } else { 16 }) * luma;
        let difference = |value: u8| (i64::from(value) - 128) * chroma;
        let (u, v) = (difference(u), difference(v));
        let clamp = |value: i64| ((value + 32_768) >> 16).clamp(0, 255) as u8;
        [clamp(y + ((red_v * v) >> 16)), clamp(y - ((green_u * u + green_v * v) >> 16)), clamp(y + ((blue_u * u) >> 16))]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SD: Colours = Colours { bt709: false, full_range: false };

    fn layout(format: &[u8; 4], width: u32, height: u32) -> Layout {
        Layout { format: FourCc(*format), width, height, stride: 0, colours: SD }
    }

    fn near(one: &[u8], other: &[u8], tolerance: u8) -> bool {
        one.len() == other.len() && one.iter().zip(other).all(|(a, b)| a.abs_diff(*b) <= tolerance)
    }

    /// 75 % colour bars of BT.601 in studio range: the values stand in every book on the subject.
    #[test]
    fn colour_bars_come_out_as_the_books_say() {
        for (yuv, rgb) in [
            ([180, 128, 128], [191, 191, 191]),
            ([162, 44, 142], [191, 191, 0]),
            ([131, 156, 44], [0, 191, 191]),
            ([112, 72, 58], [0, 191, 0]),
            ([84, 184, 198], [191, 0, 191]),
            ([65, 100, 212], [191, 0, 0]),
            ([35, 212, 114], [0, 0, 191]),
            ([16, 128, 128], [0, 0, 0]),
            ([235, 128, 128], [255, 255, 255]),
        ] {
            assert!(near(&SD.rgb(yuv[0], yuv[1], yuv[2]), &rgb, 2), "{yuv:?} {:?} {rgb:?}", SD.rgb(yuv[0], yuv[1], yuv[2]));
        }
        let hd = Colours { bt709: true, full_range: false };
        assert!(near(&hd.rgb(51, 109, 212), &[191, 0, 0], 2), "{:?}", hd.rgb(51, 109, 212));
        let full = Colours { bt709: false, full_range: true };
        assert!(near(&full.rgb(76, 85, 255), &[254, 0, 0], 2));
    }

    /// The same red and green pixels in each layout, with padded rows.
    #[test]
    fn every_layout_shows_the_same_picture() {
        let (red, green) = ([65, 100, 212], [112, 72, 58]);
        // Two pixels of red above two of green.
        let packed = |order: [usize; 4]| {
            [red, green].iter().flat_map(|&[y, u, v]| order.map(|at| [y, u, y, v][at]).into_iter().chain([7; 4])).collect::<Vec<u8>>()
        };
        let expected: Vec<u8> = [[191, 0, 0], [191, 0, 0], [0, 191, 0], [0, 191, 0]].concat();
        for (format, bytes) in [(b"YUYV", packed([0, 1, 2, 3])), (b"UYVY", packed([1, 0, 3, 2])), (b"YVYU", packed([0, 3, 2, 1]))] {
            let layout = Layout { stride: 8, ..layout(format, 2, 2) };
            assert!(near(&rgb(&bytes, &layout).unwrap(), &expected, 2), "{}", layout.format);
        }
        let red_twice = [[191, 0, 0]; 4].concat();
        for (format, bytes) in [
            (b"NV12", vec![65, 65, 9, 65, 65, 9, 100, 212, 9]),
            (b"NV21", vec![65, 65, 9, 65, 65, 9, 212, 100, 9]),
            (b"YU12", vec![65, 65, 9, 65, 65, 9, 100, 9, 212, 9]),
            (b"RGB3", [[191, 0, 0, 191, 0, 0, 5], [191, 0, 0, 191, 0, 0, 5]].concat()),
            (b"BGR3", [[0, 0, 191, 0, 0, 191, 5], [0, 0, 191, 0, 0, 191, 5]].concat()),
        ] {
            let stride = if format[3] == b'3' { 7 } else { 3 };
            let layout = Layout { stride, ..layout(format, 2, 2) };
            assert!(near(&rgb(&bytes, &layout).unwrap(), &red_twice, 2), "{} {:?}", layout.format, rgb(&bytes, &layout));
        }
        assert_eq!(rgb(&[3, 4], &layout(b"GREY", 2, 1)).unwrap(), [3, 3, 3, 4, 4, 4]);
    }

    #[test]
    fn odd_sizes_and_short_frames_are_no_panic() {
        for format in KNOWN.iter().filter(|format| !matches!(&format.0, b"MJPG" | b"JPEG")) {
            for (width, height) in [(1, 1), (3, 1), (1, 3), (5, 5), (0, 4), (u32::MAX, u32::MAX)] {
                let layout = Layout { format: *format, width, height, stride: 0, colours: SD };
                for length in 0..120 {
                    let bytes = vec![50; length];
                    if let Ok(pixels) = rgb(&bytes, &layout) {
                        assert_eq!(pixels.len(), (width * height * 3) as usize);
                        assert!(brightness(&bytes, &layout).is_ok());
                    }
                }
            }
        }
        assert!(rgb(&[0; 15], &layout(b"YUYV", 4, 2)).is_err());
        assert!(rgb(&[0; 16], &layout(b"YUYV", 4, 2)).is_ok());
        let narrow = Layout { stride: 3, ..layout(b"YUYV", 4, 2) };
        assert!(rgb(&[0; 64], &narrow).unwrap_err().to_string().contains("do not hold"));
    }

    #[test]
    fn brightness_is_that_of_the_picture() {
        let bright = |format: &[u8; 4], bytes: &[u8]| brightness(bytes, &layout(format, 16, 16)).unwrap();
        assert_eq!(bright(b"YUYV", &[90, 0].repeat(256)), 90.0);
        assert_eq!(bright(b"UYVY", &[0, 90].repeat(256)), 90.0);
        assert_eq!(bright(b"RGB3", &[0, 90, 0].repeat(256)), 90.0);
        assert_eq!(bright(b"NV12", &[[90; 256].as_slice(), &[0; 128]].concat()), 90.0);
        let jpeg = encode::jpeg(&[90; 16 * 16 * 3], 16, 16, 90).unwrap();
        assert!((bright(b"MJPG", &jpeg) - 90.0).abs() < 2.0);
    }

    #[test]
    fn a_cameras_jpeg_goes_on_as_it_is_without_what_it_tells_of_the_place() {
        let made = encode::jpeg(&[120; 32 * 16 * 3], 32, 16, 90).unwrap();
        let mut told = made[..2].to_vec();
        told.extend(b"\xff\xe1\x00\x10Exif\0\0secret!!");
        told.extend(&made[2..]);
        let (file, width, height) = jpeg(&told, &layout(b"MJPG", 32, 16), 80).unwrap();
        assert_eq!((width, height), (32, 16));
        assert!(!file.windows(6).any(|part| part == b"secret"));
        assert!(file.len() <= made.len());
        assert!(jpeg(&made[..made.len() / 2], &layout(b"MJPG", 32, 16), 80).is_err());
    }

    /// Motion JPEG may leave the Huffman tables out, since all of it uses the same ones; no picture viewer knows them.
    #[test]
    fn a_frame_without_huffman_tables_becomes_a_whole_jpeg() {
        let whole = encode::jpeg(&[120; 32 * 16 * 3], 32, 16, 90).unwrap();
        let mut bare = Vec::new();
        let mut at = 2;
        bare.extend(&whole[..2]);
        while whole[at + 1] != 0xda {
            let length = 2 + usize::from(u16::from_be_bytes([whole[at + 2], whole[at + 3]]));
            if whole[at + 1] != 0xc4 {
                bare.extend(&whole[at..at + length]);
            }
            at += length;
        }
        bare.extend(&whole[at..]);
        assert!(bare.len() < whole.len());
        let (file, ..) = jpeg(&bare, &layout(b"MJPG", 32, 16), 90).unwrap();
        let picture = image::load_from_memory(&file).unwrap().into_rgb8();
        assert!(picture.pixels().all(|pixel| pixel.0.iter().all(|value| value.abs_diff(120) <= 3)));
    }
}
