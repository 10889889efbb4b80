-- title: The first heads by several metrics, from all runs of the model, and in which sets each is
-- param: metrics = usual : names joined by commas, each with + or - in front if the largest or the smallest are meant; usual: those that there are
-- param: k = 10 : how many heads a set has
-- param: order = set|head : set after set, or head after head, those in most sets first
-- needs: :metrics
-- A metric is taken from the run that is asked for if it has it, else from the newest run that has,
-- of the same model under the same interventions. Sets of metrics around zero (list metrics) have the
-- heads farthest from it, those of others the largest; heads that tie beyond the k-th place are left
-- out. Name movers: what patch --path does to the answer, as it is by default (noising), is negative
-- for heads that speak for it and positive for those that speak against it: -path_effect has the
-- first alone.
WITH ranked AS (
-- part: ranked
), member AS (
  SELECT *, count(*) OVER (PARTITION BY layer, head) AS n_sets,
    group_concat(name, ', ') OVER (PARTITION BY layer, head ORDER BY nth
      ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING) AS sets
  FROM ranked WHERE place <= :k
)
SELECT name AS metric, rank, 'L' || layer || 'H' || head AS name, value, n_sets, sets, way, run, prompts,
  layer, head
FROM member
ORDER BY CASE :order WHEN 'head' THEN -n_sets END, CASE :order WHEN 'head' THEN layer END,
  CASE :order WHEN 'head' THEN head END, nth, rank, layer, head
