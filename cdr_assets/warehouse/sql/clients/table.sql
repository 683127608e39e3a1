-- The client of every agent that was met in a record.
CREATE TABLE clients (
    user_agent VARCHAR,                      -- agent, as EnableX gives it
    client VARCHAR,                          -- well-known browser or app, else "other app", and system; NULL if neither is known
    fingerprint VARCHAR                      -- which SQL and which parser of agents were in use
);
