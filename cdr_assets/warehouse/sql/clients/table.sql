-- The client of every agent that was met in a record.
CREATE TABLE clients (
    user_agent VARCHAR,                      -- agent, as EnableX gives it
    client VARCHAR,                          -- browser or app ("other app" if it is not a well-known one) and operating system; NULL if neither is known
    fingerprint VARCHAR                      -- which SQL and which parser of agents were in use
);
