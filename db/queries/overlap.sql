-- title: How many of their first heads each two metrics share, and Spearman's rank correlation
-- param: metrics = usual : names joined by commas, each with + or - in front if the largest or the smallest are meant; usual: those that there are
-- param: k = 10 : how many heads a set has
-- needs: :metrics
-- The sets are those of the query roles. expected: how many heads sets of these sizes share when they
-- are drawn at random, size_a * size_b over the number of heads. spearman is over all heads that have
-- both metrics, ranked as the sets are (equals have the mean of their ranks); NULL where all heads
-- have the same rank.
WITH ranked AS MATERIALIZED (
-- part: ranked
), size AS (
  SELECT nth, count(*) AS heads, sum(place <= :k) AS n FROM ranked GROUP BY nth
), pair AS (
  SELECT a.nth AS i, b.nth AS j, a.name AS a, b.name AS b, layer, head,
    CASE WHEN a.place <= :k AND b.place <= :k THEN 'L' || layer || 'H' || head END AS both,
    a.key AS x, b.key AS y
  FROM ranked AS a JOIN ranked AS b USING (layer, head)
  WHERE a.nth < b.nth
), placed AS (
  SELECT *,
    rank() OVER (PARTITION BY i, j ORDER BY x) + 0.5 * count(*) OVER (PARTITION BY i, j, x)
      - 0.5 * count(*) OVER (PARTITION BY i, j) - 1 AS u,
    rank() OVER (PARTITION BY i, j ORDER BY y) + 0.5 * count(*) OVER (PARTITION BY i, j, y)
      - 0.5 * count(*) OVER (PARTITION BY i, j) - 1 AS v
  FROM pair
), told AS (
  SELECT i, j, a, b, count(both) AS shared, group_concat(both, ' ') AS heads, count(*) AS n,
    sum(u * v) / sqrt(sum(u * u) * sum(v * v)) AS spearman
  FROM (SELECT * FROM placed ORDER BY i, j, layer, head)
  GROUP BY i, j
)
SELECT a, b, shared, 1.0 * s.n * t.n * told.n / s.heads / t.heads AS expected, spearman,
  told.heads, s.n AS size_a, t.n AS size_b, told.n
FROM told JOIN size AS s ON s.nth = i JOIN size AS t ON t.nth = j
ORDER BY i, j
