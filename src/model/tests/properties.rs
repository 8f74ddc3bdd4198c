//! What holds for every ontology.

use super::ontologies;
use super::strict;
use crate::encord::ontology::Topic;
use crate::model::outline::Outline;
use crate::model::schema::schema;
use crate::model::sheet::Sheet;

#[test]
fn three_hundred_options_are_one_enum_and_three_thousand_are_numbers() {
    for (count, pointer) in [(300, "/anyOf/0/enum/299"), (3_000, "/anyOf/0/maximum")] {
        let ontology = ontologies::many_options(count);
        let topics: Vec<Topic<'_>> = ontology.iter().map(Topic::from).collect();
        let outline = Outline::new(&topics);
        let schema = schema(&Sheet::next(&outline, &mut outline.roots()).unwrap());
        strict::check(&schema).unwrap();
        let property = &schema["properties"]["species"];
        assert!(property.pointer(pointer).is_some(), "{property}");
        assert_eq!(property["description"].as_str().unwrap().contains(" 300 = Species number 299;"), count == 3_000);
    }
}
