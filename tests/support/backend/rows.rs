//! Label rows as JSON: how a fresh one looks, how one is listed, and where its links go.

use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

use super::store::{Content, Item, Still};

/// Fields that the backend adds on read and never takes back.
pub(super) const READ_ONLY: [&str; 5] = ["is_valid", "is_image_sequence", "export_history", "export_hash", "exported_at"];

/// Now, as label rows write it.
pub(super) fn now() -> String {
    OffsetDateTime::now_utc().format(&Rfc2822).unwrap_or_default().replace("+0000", "UTC")
}

/// Now, as lists write it: ISO without zone.
pub(super) fn now_iso() -> String {
    let now = OffsetDateTime::now_utc();
    format!("{}T{:02}:{:02}:{:02}.{:06}", now.date(), now.hour(), now.minute(), now.second(), now.microsecond())
}

/// The name that stands for a file while no link is asked for.
fn unsigned(still: &str) -> String {
    still.trim_start_matches('/').to_owned()
}

pub(super) fn fresh(item: &Item, label: &str) -> Value {
    let mut row = json!({
        "label_hash": label,
        "branch_name": "main",
        "created_at": now(),
        "last_edited_at": now(),
        "dataset_hash": item.dataset,
        "dataset_title": "Emulated dataset",
        "data_title": item.title,
        "data_hash": item.hash,
        "data_type": item.data_type(),
        "is_image_sequence": if matches!(item.content, Content::Group(_)) { json!(false) } else { Value::Null },
        "data_units": units(item),
        "object_answers": {},
        "classification_answers": {},
        "object_actions": {},
        "label_status": "LABEL_IN_PROGRESS",
        "annotation_task_status": "ASSIGNED",
        "is_shadow_data": false,
        "is_valid": true,
        "spaces": {},
        "export_history": [],
    });
    put_over(&mut row, &item.row_extra);
    row
}

fn units(item: &Item) -> Value {
    let picture = |hash: &str, title: &str, still: &Still, sequence: Value| {
        json!({
            "data_hash": hash,
            "data_title": title,
            "data_link": unsigned(&still.file),
            "data_type": still.mime,
            "data_sequence": sequence,
            "width": still.width,
            "height": still.height,
            "labels": {"objects": [], "classifications": []},
        })
    };
    let mut units = Map::new();
    match &item.content {
        Content::Image(still) | Content::Other(_, still) => {
            units.insert(item.hash.clone(), picture(&item.hash, &item.title, still, json!(0)));
        }
        Content::Video(clip) => {
            let unit = json!({
                "data_hash": item.hash,
                "data_title": item.title,
                "data_link": unsigned(&clip.file),
                "data_type": clip.mime,
                "data_sequence": 0,
                "width": clip.width,
                "height": clip.height,
                "labels": {},
                "data_duration": clip.frames as f64 / clip.fps,
                "data_fps": clip.fps,
            });
            units.insert(item.hash.clone(), unit);
        }
        // Last image first: readers must go by data_sequence, not by the order of keys.
        Content::Group(images) => {
            for (at, (hash, title, still)) in images.iter().enumerate().rev() {
                units.insert(hash.clone(), picture(hash, title, still, json!(at.to_string())));
            }
        }
    }
    Value::Object(units)
}

/// One item of the list of label rows.
pub(super) fn listed(item: &Item, row: Option<&Value>) -> Value {
    let still = match &item.content {
        Content::Image(still) | Content::Other(_, still) => Some((&still.file, still.width, still.height, &still.mime)),
        Content::Video(clip) => Some((&clip.file, clip.width, clip.height, &clip.mime)),
        Content::Group(_) => None,
    };
    let clip = if let Content::Video(clip) = &item.content { Some(clip) } else { None };
    let mut entry = json!({
        "label_hash": item.label,
        "branch_name": "main",
        "task_uuid": item.backing,
        "created_at": row.map(|_| now_iso()),
        "last_edited_at": row.map(|_| now_iso()),
        "data_hash": item.hash,
        "group_hash": null,
        "dataset_hash": item.dataset,
        "dataset_title": "Emulated dataset",
        "data_title": item.title,
        "data_type": item.data_type().to_ascii_uppercase(),
        "data_link": still.map(|(file, ..)| unsigned(file)),
        "label_status": row.map_or("NOT_LABELLED", |row| row["label_status"].as_str().unwrap_or("LABEL_IN_PROGRESS")),
        "annotation_task_status": "ASSIGNED",
        "workflow_graph_node": {"uuid": "3a1ca1bb-6f3f-4d1c-9f0a-0a6b4f4b8d11", "title": "Annotate 1"},
        "is_shadow_data": false,
        "frames_per_second": clip.map(|clip| clip.fps),
        "number_of_frames": item.frames(),
        "duration": clip.map(|clip| clip.frames as f64 / clip.fps),
        "height": still.map(|(_, _, height, _)| height),
        "width": still.map(|(_, width, ..)| width),
        "audio_codec": null,
        "audio_sample_rate": null,
        "audio_num_channels": null,
        "audio_bit_depth": null,
        "images_data": null,
        "file_type": still.map(|(.., mime)| mime),
        "is_valid": true,
        "backing_item_uuid": item.backing,
        "priority": 0.5,
        "client_metadata": null,
        "assigned_user_email": "annotator@example.com",
        "last_actioned_by_user_email": null,
        "spaces": {},
    });
    put_over(&mut entry, &item.listing_extra);
    entry
}

/// Replaces each unit's data link by a signed one.
pub(super) fn with_links(mut row: Value, item: &Item, sign: impl Fn(&str) -> String) -> Value {
    if let Some(units) = row["data_units"].as_object_mut() {
        for (hash, unit) in units {
            let file = match &item.content {
                Content::Image(still) | Content::Other(_, still) => &still.file,
                Content::Video(clip) => &clip.file,
                Content::Group(images) => match images.iter().find(|(image, ..)| image == hash) {
                    Some((.., still)) => &still.file,
                    None => continue,
                },
            };
            unit["data_link"] = json!(sign(file));
        }
    }
    row
}

fn put_over(value: &mut Value, extra: &Map<String, Value>) {
    for (key, extra) in extra {
        value[key] = extra.clone();
    }
}
