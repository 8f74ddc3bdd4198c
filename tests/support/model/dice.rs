//! Any instance of a schema, as a seed decides: a model that says whatever its schema allows.

use serde_json::{Value, json};

/// What people and models write: every script, quotes, line breaks, things that look like something else.
const TEXTS: [&str; 16] = [
    "a dog",
    "A wet road at night, with \"two\" cars & émigré pigeons",
    "null",
    "NaN",
    "0",
    "{\"weather\": \"Sunny\"}",
    "line one\nline two\ttabbed",
    "back\\slash and 'quotes'",
    "天気は雨、視界は悪い。",
    "الطريق مبلل",
    "🚗🚦👩‍🚒",
    "e\u{301}\u{327} combined",
    "<b>bold</b> & </script>",
    "%s %d {0} ${x}",
    "-",
    "very long: Lorem ipsum dolor sit amet, consectetur adipiscing elit, sed do eiusmod tempor incididunt ut labore et dolore magna \
     aliqua. Ut enim ad minim veniam, quis nostrud exercitation ullamco laboris nisi ut aliquip ex ea commodo consequat.",
];

/// An instance of `schema`. Calls with one seed give the same instance.
pub(super) fn instance(schema: &Value, seed: u64) -> Value {
    Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1).instance(schema)
}

struct Dice(u64);

impl Dice {
    /// A number below `count` (xorshift64*).
    fn below(&mut self, count: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % count.max(1)
    }

    fn instance(&mut self, schema: &Value) -> Value {
        if let Some(branches) = schema["anyOf"].as_array() {
            // Most questions are answered, so that much hangs under the answers.
            let branch = if self.below(6) > 0 { 0 } else { self.below(branches.len()) };
            return self.instance(&branches[branch]);
        }
        if let Some(values) = schema["enum"].as_array() {
            return values[self.below(values.len())].clone();
        }
        match schema["type"].as_str().unwrap_or_default() {
            "object" => {
                let properties = schema["properties"].as_object().into_iter().flatten();
                properties.map(|(key, inner)| (key.clone(), self.instance(inner))).collect()
            }
            "array" => {
                let mut list: Vec<Value> = Vec::new();
                for _ in 0..self.below(5) {
                    let item = self.instance(&schema["items"]);
                    if !list.contains(&item) {
                        list.push(item);
                    }
                }
                Value::Array(list)
            }
            "integer" => {
                let (low, high) = (schema["minimum"].as_u64().unwrap_or(0), schema["maximum"].as_u64().unwrap_or(100));
                json!(low + self.below((high - low + 1) as usize) as u64)
            }
            "number" => {
                let numbers = [json!(0), json!(7), json!(-3), json!(2.5), json!(-0.125), json!(1e300), json!(9_007_199_254_740_993_i64)];
                numbers[self.below(numbers.len())].clone()
            }
            "string" => match self.below(TEXTS.len() + 1) {
                0 => json!(""),
                text => json!(TEXTS[text - 1]),
            },
            _ => Value::Null,
        }
    }
}
