//! The SSH key, and both of Encord's signatures (protocol 2.1 and 2.2).
