-- Removes what older code said of these agents.
DELETE FROM clients WHERE user_agent IN (SELECT unnest($user_agents));
