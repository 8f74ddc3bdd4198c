//! Which classifications of the ontology an agent answers.

use crate::encord::Ontology;
use crate::encord::ontology::{Attribute, Classification, ObjectClass};

use super::{Error, Kind};

/// Most characters of titles that a message lists.
const LISTED: usize = 90;

/// The classifications named by title or feature node hash, in the order named; `*` stands for all. Archived ones do
/// not count. A name that fits none or several is an error that lists what there is.
pub fn choose<'a>(ontology: &'a Ontology, wanted: &[String]) -> Result<Vec<&'a Classification>, Error> {
    let offered: Vec<&Classification> = ontology.classifications.iter().filter(|class| !class.attribute.archived).collect();
    let mut chosen: Vec<&Classification> = Vec::new();
    for name in wanted {
        let found = if name == "*" { offered.clone() } else { vec![one(&offered, name)?] };
        for class in found {
            if !chosen.iter().any(|earlier| earlier.hash == class.hash) {
                chosen.push(class);
            }
        }
    }
    if chosen.is_empty() {
        return Err(Error::new(
            Kind::Unprocessable,
            "this project's ontology has no classification to answer: add one, or change `classification` of the agent",
        ));
    }
    Ok(chosen)
}

/// The attributes of a class of objects that are named, by their own title or feature node hash or by that of the class;
/// `*` stands for all. Archived ones do not count.
pub fn choose_attributes<'a>(class: &'a ObjectClass, wanted: &[String]) -> Vec<&'a Attribute> {
    let whole = wanted.iter().any(|name| name == "*" || *name == class.name || class.hash.as_str() == name);
    let named = |attribute: &Attribute| wanted.iter().any(|name| *name == attribute.name || attribute.hash.as_str() == name);
    class.attributes.iter().filter(|attribute| !attribute.archived && (whole || named(attribute))).collect()
}

fn one<'a>(offered: &[&'a Classification], name: &str) -> Result<&'a Classification, Error> {
    if let Some(class) = offered.iter().find(|class| class.hash.as_str() == name) {
        return Ok(class);
    }
    let found: Vec<&&Classification> = offered.iter().filter(|class| class.title() == name).collect();
    match found[..] {
        [class] => Ok(class),
        [] => Err(Error::new(
            Kind::Unprocessable,
            format!(
                "the ontology has no classification {:?}; it has: {}",
                shortened(name, 40),
                listed(offered.iter().map(|class| class.title()))
            ),
        )),
        _ => Err(Error::new(
            Kind::Unprocessable,
            format!(
                "the ontology has {} classifications {:?}; name one by its feature node hash: {}",
                found.len(),
                shortened(name, 40),
                listed(found.iter().map(|class| class.hash.as_str()))
            ),
        )),
    }
}

fn listed<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let mut text = String::new();
    for name in names {
        if !text.is_empty() {
            text.push_str(", ");
        }
        if text.chars().count() + name.chars().count() > LISTED {
            text.push('…');
            break;
        }
        text.push_str(name);
    }
    if text.is_empty() { "none".into() } else { text }
}

pub(super) fn shortened(text: &str, most: usize) -> String {
    if text.chars().count() <= most { text.to_owned() } else { text.chars().take(most).chain(['…']).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encord::ontology::AttributeKind;
    use crate::ids::FeatureNodeHash;

    fn class(hash: &str, title: &str, archived: bool) -> Classification {
        let attribute = Attribute {
            hash: FeatureNodeHash::new(format!("{hash}-a")),
            name: title.into(),
            required: false,
            archived,
            dynamic: false,
            kind: AttributeKind::Text,
        };
        Classification { hash: FeatureNodeHash::new(hash), global: false, attribute }
    }

    fn ontology() -> Ontology {
        let classifications =
            vec![class("aaaa", "Scene", false), class("bbbb", "Twice", false), class("cccc", "Twice", false), class("dddd", "Gone", true)];
        Ontology { objects: Vec::new(), classifications }
    }

    fn hashes(wanted: &[&str]) -> Result<Vec<String>, String> {
        let wanted: Vec<String> = wanted.iter().map(|&name| name.to_owned()).collect();
        choose(&ontology(), &wanted).map(|all| all.iter().map(|class| class.hash.to_string()).collect()).map_err(|error| error.message)
    }

    #[test]
    fn a_title_or_a_hash_names_one_and_a_star_all_that_are_not_archived() {
        assert_eq!(hashes(&["Scene"]).unwrap(), ["aaaa"]);
        assert_eq!(hashes(&["cccc", "Scene", "aaaa"]).unwrap(), ["cccc", "aaaa"]);
        assert_eq!(hashes(&["*"]).unwrap(), ["aaaa", "bbbb", "cccc"]);
    }

    #[test]
    fn a_name_that_fits_none_or_several_is_told_with_what_there_is() {
        let missing = hashes(&["Szene"]).unwrap_err();
        assert!(missing.contains("\"Szene\"") && missing.contains("Scene, Twice, Twice"), "{missing}");
        let twice = hashes(&["Twice"]).unwrap_err();
        assert!(twice.contains("2 classifications") && twice.contains("bbbb, cccc"), "{twice}");
        assert!(hashes(&["Gone"]).is_err());
    }

    #[test]
    fn attributes_of_objects_are_named_themselves_or_through_their_class() {
        let attribute = |hash: &str, name: &str, archived| Attribute {
            hash: FeatureNodeHash::new(hash),
            name: name.into(),
            required: false,
            archived,
            dynamic: false,
            kind: AttributeKind::Text,
        };
        let class = ObjectClass {
            hash: FeatureNodeHash::new("cccc"),
            name: "Car".into(),
            shape: "bounding_box".into(),
            archived: false,
            attributes: vec![attribute("a1", "Colour", false), attribute("a2", "Make", false), attribute("a3", "Gone", true)],
        };
        for (wanted, found) in [("*", 2), ("Car", 2), ("cccc", 2), ("Colour", 1), ("a2", 1), ("Gone", 0), ("Van", 0)] {
            assert_eq!(choose_attributes(&class, &[wanted.to_owned()]).len(), found, "{wanted}");
        }
    }
}
