CREATE TABLE orders (
    id    TEXT PRIMARY KEY,        -- of the message
    at    TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP,
    what  TEXT NOT NULL
);

CREATE TABLE counts (
    at      TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP,
    orders  INTEGER NOT NULL
);
