INSERT INTO clients BY NAME
SELECT unnest($user_agents) AS user_agent, unnest($clients) AS client, $fingerprint AS fingerprint;
