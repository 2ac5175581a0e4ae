# ---- Table 1, missing values, events per coefficient --------------------------------------------

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
    if (row$level %in% "Missing" && !("Missing" %in% term$levels)) {
      compare("table_1", what, "count", row$count, sum(is.na(x)))
      compare("table_1", what, "share", row$share, mean(is.na(x)))
    } else if (length(term$levels)) {
      compare("table_1", what, "count", row$count, sum(x %in% row$level))
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
