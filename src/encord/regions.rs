//! Where an object is on its frame: the smallest upright rectangle around its shape.

use serde_json::Value;

use crate::media::Region;

/// Upright bounds that grow with every point.
struct Bounds {
    left: f64,
    top: f64,
    right: f64,
    bottom: f64,
}

impl Bounds {
    fn around(points: impl IntoIterator<Item = (f64, f64)>) -> Option<Region> {
        let none = Self { left: f64::INFINITY, top: f64::INFINITY, right: f64::NEG_INFINITY, bottom: f64::NEG_INFINITY };
        let all = points.into_iter().fold(none, |bounds, (x, y)| Self {
            left: bounds.left.min(x),
            top: bounds.top.min(y),
            right: bounds.right.max(x),
            bottom: bounds.bottom.max(y),
        });
        all.visible()
    }

    /// The part within the picture, if there is any.
    fn visible(&self) -> Option<Region> {
        let (x, y) = (self.left.max(0.0), self.top.max(0.0));
        let (width, height) = (self.right.min(1.0) - x, self.bottom.min(1.0) - y);
        (width > 0.0 && height > 0.0).then_some(Region { x, y, width, height })
    }
}

/// The bounds of a frame object, as fractions of the picture; `None` for shapes that enclose nothing or are not known.
/// `aspect` is the picture's width over its height, which rotation needs.
pub(super) fn region_of(object: &Value, aspect: f64) -> Option<Region> {
    if let Some(upright) = object.get("boundingBox").filter(|shape| shape.is_object()) {
        let (x, y, w, h) = rectangle(upright)?;
        return Bounds::around([(x, y), (x + w, y + h)]);
    }
    if let Some(rotated) = object.get("rotatableBoundingBox").filter(|shape| shape.is_object()) {
        return Bounds::around(corners(rotated, aspect)?);
    }
    if let Some(mask) = object.get("bitmask").filter(|shape| shape.is_object()) {
        return of_bitmask(mask);
    }
    let mut points = Vec::new();
    for shape in ["polygons", "polygon", "polyline", "skeleton"] {
        if let Some(shape) = object.get(shape) {
            collect(shape, &mut points);
        }
        if !points.is_empty() {
            return Bounds::around(points);
        }
    }
    None
}

fn rectangle(shape: &Value) -> Option<(f64, f64, f64, f64)> {
    let number = |key: &str| shape.get(key)?.as_f64();
    Some((number("x")?, number("y")?, number("w")?, number("h")?))
}

/// The corners of a rectangle that is turned clockwise by `theta` degrees about its middle, in pixels and not in
/// fractions: a turned square stays a square on the screen.
fn corners(shape: &Value, aspect: f64) -> Option<[(f64, f64); 4]> {
    let (x, y, w, h) = rectangle(shape)?;
    let (sin, cos) = shape.get("theta").and_then(Value::as_f64).unwrap_or(0.0).to_radians().sin_cos();
    let (middle_x, middle_y) = (x + w / 2.0, y + h / 2.0);
    Some([(-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5)].map(|(right, down)| {
        let (right, down) = (right * w * aspect, down * h);
        (middle_x + (right * cos - down * sin) / aspect, middle_y + right * sin + down * cos)
    }))
}

/// Points however they are nested: `{"0": {"x", "y"}}`, `[{"x", "y"}]`, or contours as flat `[x, y, x, y, …]`.
fn collect(shape: &Value, points: &mut Vec<(f64, f64)>) {
    match shape {
        Value::Object(point) if point.contains_key("x") => {
            if let (Some(x), Some(y)) = (point["x"].as_f64(), point.get("y").and_then(Value::as_f64)) {
                points.push((x, y));
            }
        }
        Value::Object(list) => list.values().for_each(|inner| collect(inner, points)),
        Value::Array(list) if list.iter().any(Value::is_number) => {
            let flat: Vec<f64> = list.iter().filter_map(Value::as_f64).collect();
            points.extend(flat.chunks_exact(2).map(|pair| (pair[0], pair[1])));
        }
        Value::Array(list) => list.iter().for_each(|inner| collect(inner, points)),
        _ => {}
    }
}

/// The bounds of a mask's set pixels. A mask is run lengths, unset and set in turn, row by row over the whole picture.
fn of_bitmask(mask: &Value) -> Option<Region> {
    let side = |key: &str| mask.get(key)?.as_u64().filter(|&side| (1..=1 << 20).contains(&side));
    let (width, height) = (side("width")?, side("height")?);
    let text = mask.get("rleString").or_else(|| mask.get("rle_string"))?.as_str()?;
    let (mut left, mut top, mut right, mut bottom) = (width, height, 0, 0);
    let mut at = 0u64;
    for (number, length) in run_lengths(text)?.into_iter().enumerate() {
        let end = (at + length).min(width * height);
        if number % 2 == 1 && end > at {
            let (first, last) = (at / width, (end - 1) / width);
            let (from, to) = if first == last { (at % width, (end - 1) % width) } else { (0, width - 1) };
            (left, right) = (left.min(from), right.max(to + 1));
            (top, bottom) = (top.min(first), bottom.max(last + 1));
        }
        at = end;
    }
    let part = |pixels: u64, of: u64| pixels as f64 / of as f64;
    Bounds { left: part(left, width), top: part(top, height), right: part(right, width), bottom: part(bottom, height) }.visible()
}

/// Reads the text form of run lengths: five bits a character, the sixth says that more follow, and from the fourth
/// number on the difference to the last but one.
fn run_lengths(text: &str) -> Option<Vec<u64>> {
    let mut lengths: Vec<i64> = Vec::new();
    let mut bytes = text.bytes();
    while let Some(mut byte) = bytes.next() {
        let (mut number, mut shift) = (0i64, 0);
        loop {
            let bits = i64::from(byte.checked_sub(48)?);
            number |= (bits & 0x1f) << shift;
            shift += 5;
            if bits & 0x20 == 0 {
                if bits & 0x10 != 0 {
                    number |= -1 << shift;
                }
                break;
            }
            byte = bytes.next()?;
            if shift > 40 {
                return None;
            }
        }
        if lengths.len() > 2 {
            number += lengths[lengths.len() - 2];
        }
        if !(0..=1 << 42).contains(&number) {
            return None;
        }
        lengths.push(number);
    }
    Some(lengths.into_iter().map(|length| length as u64).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn near(region: Option<Region>, expected: [f64; 4]) {
        let found = region.map(|region| [region.x, region.y, region.width, region.height]).unwrap();
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-9, "{found} instead of {expected}");
        }
    }

    #[test]
    fn boxes_are_taken_as_they_are_and_cut_at_the_edge() {
        near(region_of(&json!({"boundingBox": {"x": 0.1, "y": 0.2, "w": 0.3, "h": 0.4}}), 1.0), [0.1, 0.2, 0.3, 0.4]);
        near(region_of(&json!({"boundingBox": {"x": -0.1, "y": 0.9, "w": 0.3, "h": 0.4}}), 1.0), [0.0, 0.9, 0.2, 0.1]);
        assert_eq!(region_of(&json!({"boundingBox": {"x": 1.5, "y": 0.2, "w": 0.3, "h": 0.4}}), 1.0), None);
        assert_eq!(region_of(&json!({"boundingBox": {"x": "a"}}), 1.0), None);
    }

    #[test]
    fn a_turned_box_is_turned_in_pixels() {
        // 200 x 100 pixels: a box of 40 x 20 turned by a right angle is 20 x 40 about the same middle.
        let object = json!({"rotatableBoundingBox": {"x": 0.4, "y": 0.4, "w": 0.2, "h": 0.2, "theta": 90}});
        near(region_of(&object, 2.0), [0.45, 0.3, 0.1, 0.4]);
        near(region_of(&json!({"rotatableBoundingBox": {"x": 0.4, "y": 0.4, "w": 0.2, "h": 0.2, "theta": 0}}), 2.0), [0.4, 0.4, 0.2, 0.2]);
    }

    #[test]
    fn polygons_are_read_in_all_their_forms() {
        let triangle = [0.1, 0.2, 0.5, 0.8];
        for shape in [
            json!({"polygon": {"0": {"x": 0.1, "y": 0.2}, "1": {"x": 0.6, "y": 0.3}, "2": {"x": 0.4, "y": 1.0}}}),
            json!({"polygon": [{"x": 0.1, "y": 0.2}, {"x": 0.6, "y": 0.3}, {"x": 0.4, "y": 1.0}], "polygons": null}),
            json!({"polygon": {"0": {"x": 0.5, "y": 0.5}}, "polygons": [[[0.1, 0.2, 0.6, 0.3, 0.4, 1.0], [0.3, 0.3]]]}),
            json!({"polygons": [[[{"x": 0.1, "y": 0.2}, {"x": 0.6, "y": 0.3}]], [[{"x": 0.4, "y": 1.0}]]]}),
        ] {
            near(region_of(&shape, 1.0), triangle);
        }
        assert_eq!(region_of(&json!({"point": {"0": {"x": 0.5, "y": 0.5}}}), 1.0), None);
    }

    /// The reference: the SDK's serialise_bitmask, on masks of its own.
    #[test]
    fn masks_are_read_as_the_sdk_writes_them() {
        let masks: Value = serde_json::from_str(include_str!("testdata/bitmasks.json")).unwrap();
        for mask in masks.as_array().unwrap() {
            let (width, height) = (mask["bitmask"]["width"].as_f64().unwrap(), mask["bitmask"]["height"].as_f64().unwrap());
            let region = region_of(mask, 1.0);
            match mask["bounds"].as_array() {
                None => assert_eq!(region, None),
                Some(bounds) => {
                    let side = |n: usize, of: f64| bounds[n].as_f64().unwrap() / of;
                    near(region, [side(0, width), side(1, height), side(2, width), side(3, height)]);
                }
            }
        }
        assert!(masks.as_array().unwrap().len() > 20);
    }

    proptest! {
        #[test]
        fn no_mask_is_too_odd(text in "[\\x20-\\x7e]{0,40}", width in 0u64..9, height in 0u64..9) {
            let _ = region_of(&json!({"bitmask": {"width": width, "height": height, "rleString": text}}), 1.0);
        }
    }
}
