-- A journal as edgelabel 0.1 wrote it, with one answer that waits. The names in capitals are put in by the test.
CREATE TABLE pending (
    number   INTEGER PRIMARY KEY AUTOINCREMENT,
    id       TEXT NOT NULL UNIQUE,
    project  TEXT NOT NULL,
    data     TEXT NOT NULL,
    frame    INTEGER NOT NULL,
    agent    TEXT NOT NULL,
    payload  TEXT NOT NULL,
    state    TEXT NOT NULL CHECK (state IN ('waiting', 'refused')),
    since    INTEGER NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    error    TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE TABLE history (
    number  INTEGER PRIMARY KEY AUTOINCREMENT,
    at      INTEGER NOT NULL,
    episode TEXT NOT NULL
) STRICT;
CREATE TABLE proof (id INTEGER PRIMARY KEY, at INTEGER NOT NULL) STRICT;
INSERT INTO pending(id, project, data, frame, agent, payload, state, since, attempts, error) VALUES (
    'eaf5d79a7053', 'PROJECT', 'DATA', 7, '/',
    '{"project":"PROJECT","label":"LABEL","frame":7,"answers":[{"answer":{"feature":"Cls+Scen","target":{"classification":{"hash":"i4rjg2T9","global":false}},"entries":[{"dynamic":false,"json":{"name":"Scene description","value":"scene_description","answers":"a red lorry at a crossing","featureHash":"AttScene","manualAnnotation":true}}],"confidence":0.5,"created":"Tue, 24 Nov 2026 23:17:55 UTC"},"seen":"RBNvo1WzZ4oRRq0W9+hknpT7T8If536DEMBg9hyq/4o="}]}',
    'waiting', 1795562275, 1, 'Encord could not be reached to save the label row: it answered 503'
);
PRAGMA user_version = 1;
