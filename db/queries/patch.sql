-- title: What patching each cell brought back of the other half's result
-- needs: patch
-- Means over the pairs; recovered is a ratio of means, and undefined where both halves score the
-- same. The newest patching of a pair counts. Layer by layer, places in the order asked for.
WITH look AS (
-- part: look
),
cell AS (
  SELECT c.* FROM look AS l
  CROSS JOIN patch_cell AS c ON c.prompt_id = l.prompt_id AND c.analysis_run_id = l.analysis_run_id
),
pair AS (SELECT min(clean) AS clean, min(corrupt) AS corrupt FROM cell GROUP BY prompt_id),
mean AS (
  SELECT kind, layer, head, place, pos, avg(value) AS value, avg(value - base) AS effect,
    avg(clean) AS up, avg(corrupt) AS down, count(value) AS n, avg(grad_drop) AS grad_drop
  FROM cell
  GROUP BY kind, layer, head, place, pos
),
total AS (
  SELECT (SELECT avg(clean) FROM pair) AS clean, (SELECT avg(corrupt) FROM pair) AS corrupt,
    (SELECT count(*) FROM pair) AS pairs, (SELECT count(DISTINCT place) FROM cell) AS places
)
SELECT CASE kind WHEN 'head' THEN 'L' || layer || 'H' || head
    WHEN 'group' THEN 'L' || layer || 'G' || head ELSE 'L' || layer END AS unit,
  pos AS position, value,
  CASE WHEN abs(up - down) > 1e-6 * max(1, abs(up), abs(down)) THEN (value - down) / (up - down) END
    AS recovered,
  CASE WHEN abs(up - down) > 1e-6 * max(1, abs(up), abs(down)) THEN NULL
    ELSE 'the clean and the corrupted half score the same' END AS reason,
  effect, n, grad_drop, layer, CASE kind WHEN 'layer' THEN NULL ELSE head END AS head, head AS idx,
  place, places, kind, clean, corrupt, pairs
FROM mean CROSS JOIN total
ORDER BY layer, head, place
