# ---- Table 1, missing values, events per coefficient --------------------------------------------

# The difference between groups in pooled standard deviations; for categories, the Mahalanobis
# distance of their shares (Yang and Dalton 2012). With several groups, the largest of two.
standardised_difference <- function(x) {
  groups <- split(x, data$risk_group, drop = TRUE)
  groups <- lapply(groups, function(values) values[!is.na(values)])
  found <- NA
  for (i in seq_along(groups)) for (j in seq_len(i - 1)) {
    one <- groups[[i]]; two <- groups[[j]]
    if (length(one) < 2 || length(two) < 2) next
    if (is.factor(x)) {
      p <- prop.table(table(one)); q <- prop.table(table(two))
      kept <- (p + q > 0)
      p <- as.vector(p[kept])[-1]; q <- as.vector(q[kept])[-1]
      covariance <- (diag(p, length(p)) - p %o% p + diag(q, length(q)) - q %o% q) / 2
      gap <- try(sqrt(drop((p - q) %*% solve(covariance, p - q))), silent = TRUE)
      if (inherits(gap, "try-error")) gap <- NA
    } else gap <- abs(mean(one) - mean(two)) / sqrt((var(one) + var(two)) / 2)
    if (is.finite(gap)) found <- max(found, gap, na.rm = TRUE)
  }
  found
}

part("Table 1", "stats", function() {
  report <- read_report("table_1")
  if (is.null(report)) return()
  groups <- c("All patients", group_levels)
  for (i in seq_len(nrow(report))) {
    row <- report[i, ]
    inside <- if (row$group == "All patients") data else data[data$risk_group %in% row$group, ]
    term <- Filter(function(term) term$name == row$variable, c(list(score_term), clinical))[[1]]
    x <- inside[[term$column]]
    what <- paste(row$variable, row$level, row$group)
    compare("table_1", what, "standardised_difference", row$standardised_difference,
            standardised_difference(data[[term$column]]))
    if (row$level %in% "Missing" && !("Missing" %in% term$levels)) {
      compare("table_1", what, "count", row$count, sum(is.na(x)))
      compare("table_1", what, "events", row$events, sum(inside$event[is.na(x)]))
      compare("table_1", what, "share", row$share, mean(is.na(x)))
    } else if (length(term$levels)) {
      compare("table_1", what, "count", row$count, sum(x %in% row$level))
      compare("table_1", what, "events", row$events, sum(inside$event[x %in% row$level]))
      compare("table_1", what, "share", row$share, sum(x %in% row$level) / sum(!is.na(x)))
    } else {
      compare("table_1", what, c("q1", "median", "q3"), c(row$q1, row$median, row$q3),
              quantile(x, c(0.25, 0.5, 0.75), na.rm = TRUE))
    }
  }
})

part("Missing values", "stats", function() {
  report <- read_report("missing")
  if (is.null(report)) return()
  for (term in clinical) {
    row <- report[report$variable == term$name, ]
    compare("missing", term$name, "missing", row$missing, sum(is.na(data[[term$column]])))
    compare("missing", term$name, "share", row$share, mean(is.na(data[[term$column]])))
  }
})

in_text <- read_report("numbers_in_text")
text_numbers <- function(item, values, tolerance = 1e-6) {
  report <- in_text[in_text$item == item, ]
  if (nrow(report))
    compare("numbers_in_text", item, report$quantity, report$value,
            unlist(values)[report$quantity], tolerance)
}

part("Events per coefficient", "stats", function() {
  terms <- c(clinical, list(score_term))
  rows <- complete_rows(terms)
  count <- ncol(design(varying(terms, rows), rows))
  text_numbers("events per coefficient",
               c(events = sum(rows$event), coefficients = count, ratio = sum(rows$event) / count))
})
