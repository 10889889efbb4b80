-- title: The named ranges of tokens of the prompts, from position `start` up to `stop`
-- Those of --span that lie in the prompt, and its own, of the keys positions and spans (a text: the
-- tokens that cover it); of one name the prompt's own counts.
WITH asked AS (
  SELECT * FROM prompt WHERE run_id = :run AND (:prompt IS NULL OR id = :prompt)
), named AS (
  SELECT p.id, k.value AS source, e.key AS name, e.type,
    CASE e.type WHEN 'array' THEN json_extract(e.value, '$[0]') ELSE e.value END AS a,
    CASE e.type WHEN 'array' THEN json_extract(e.value, '$[1]') ELSE e.value + 1 END AS b
  FROM asked AS p JOIN json_each('["positions","spans"]') AS k
  JOIN json_each(coalesce(p.extra_json, '{}'), '$.' || k.value) AS e
  WHERE e.type = 'integer' OR (e.type = 'array' AND json_array_length(e.value) = 2)
), own AS (
  SELECT n.id, n.name, n.source, n.source = 'spans' AS nth, a + iif(a < 0, p.n_token, 0) AS start,
    b + iif(b < 0 OR (b = 0 AND n.type = 'integer'), p.n_token, 0) AS stop
  FROM named AS n JOIN asked AS p USING (id)
  WHERE typeof(a) = 'integer' AND typeof(b) = 'integer'
), said AS (
  SELECT p.id, e.key AS name, length(CAST(e.value AS BLOB)) AS n,
    instr(CAST(p.text AS BLOB), CAST(e.value AS BLOB)) - 1 AS at
  FROM asked AS p JOIN json_each(coalesce(p.extra_json, '{}'), '$.spans') AS e
  WHERE e.type = 'text' AND e.value <> ''
), given AS (
  SELECT p.id, substr(s.value, 1, instr(s.value, '=') - 1) AS name, '--span' AS source,
    substr(s.value, instr(s.value, '=') + 1) AS range
  FROM asked AS p JOIN run AS r ON r.id = p.run_id
  JOIN json_each(r.options_json, '$.span') AS s
), every AS (
  SELECT id, name, source, start, stop, nth FROM own
  UNION ALL
  SELECT s.id, s.name, 'spans', min(t.pos), max(t.pos) + 1, 1
  FROM said AS s JOIN token AS t ON t.prompt_id = s.id
  WHERE s.at >= 0 AND t.byte_from < s.at + s.n AND t.byte_to > s.at AND t.byte_from < t.byte_to
  GROUP BY s.id, s.name
  UNION ALL
  SELECT id, name, source, CAST(range AS INTEGER),
    CAST(substr(range, instr(range, ':') + 1) AS INTEGER), 2
  FROM given
), first AS (
  SELECT *, row_number() OVER (PARTITION BY id, name ORDER BY nth) AS place FROM every
)
SELECT p.ord AS prompt, f.name, f.start, f.stop, f.stop - f.start AS tokens,
  (SELECT substr(group_concat(text, ''), 1, 60) FROM (
    SELECT text FROM token WHERE prompt_id = p.id AND pos >= f.start AND pos < f.stop
    ORDER BY pos)) AS text, f.source
FROM first AS f JOIN asked AS p USING (id)
WHERE f.place = 1 AND f.start >= 0 AND f.start < f.stop AND f.stop <= p.n_token
ORDER BY p.ord, f.start, f.stop, f.name
