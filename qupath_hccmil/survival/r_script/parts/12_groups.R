# ---- Subgroups and centres ----------------------------------------------------------------------

effect_names <- c("coefficient", "se", "hazard_ratio", "lower", "upper", "p")
effect_of <- function(beta, se) c(beta, se, exp(beta), exp(beta - critical * se),
                                  exp(beta + critical * se), 2 * pnorm(-abs(beta / se)))
per_sd <- function(frame) {
  frame$score_sds <- frame$risk_score / score_sd
  frame$outcome <- outcome_of(frame)
  frame
}

# A Cox model with the score, without a penalty, and other columns.
score_model <- function(formula, frame, ...) {
  formula <- within_strata(formula)
  environment(formula) <- environment()
  suppressWarnings(coxph(formula, per_sd(frame), control = exact, ...))
}
score_effect <- function(fit) effect_of(coef(fit)[["score_sds"]],
                                        sqrt(vcov(fit)["score_sds", "score_sds"]))

# The effect within some patients; without two events or where nothing varies there is none.
within_effect <- function(frame) {
  if (sum(frame$event) < 2 || length(unique(frame$risk_score)) < 2) return(rep(NA_real_, 6))
  fit <- fit_model(list(score_term), frame, "auto", TRUE)
  if (fit$method != "Efron")
    return(c(fit$coefficients, NA, exp(c(fit$coefficients, fit$lower, fit$upper)), fit$p))
  effect_of(fit$coefficients, fit$se)
}
compare_effect <- function(key, what, row, found) {
  shown <- effect_names[!is.na(found) | is.na(as.numeric(row[effect_names]))]
  compare(key, what, shown, row[shown], found[match(shown, effect_names)], 1e-5)
}

# Twice the gain of one effect a level over a common one.
by_levels <- function(frame, layers) {
  common <- score_model(outcome ~ score_sds + strata(layer),
                        transform(frame, layer = as.character(layers)))
  apart <- 0
  informative <- 0
  for (layer in unique(as.character(layers))) {
    inside <- frame[layers == layer, ]
    if (!any(inside$event == 1) || length(unique(inside$risk_score)) < 2) next
    apart <- apart + score_model(outcome ~ score_sds, inside)$loglik[2]
    informative <- informative + 1
  }
  degrees <- max(informative - 1, 0)
  statistic <- if (degrees) 2 * (apart - common$loglik[2]) else NA
  c(statistic = statistic, degrees_of_freedom = degrees,
    p = if (degrees) pchisq(max(statistic, 0), degrees, lower.tail = FALSE) else NA)
}
linear_product <- function(frame, x) {
  frame$x <- x
  smaller <- score_model(outcome ~ score_sds + x, frame)
  larger <- score_model(outcome ~ score_sds * x, frame)
  statistic <- 2 * (larger$loglik[2] - smaller$loglik[2])
  c(statistic = statistic, degrees_of_freedom = 1,
    p = pchisq(max(statistic, 0), 1, lower.tail = FALSE))
}

part("Subgroups", "survival", function() {
  report <- read_report("subgroups")
  tests <- read_report("interactions")
  if (is.null(report)) return()
  compare("subgroups", "All patients", c("patients", "events"), report[1, c("patients", "events")],
          c(nrow(data), sum(data$event)))
  compare_effect("subgroups", "All patients", report[1, ], within_effect(data))
  for (column in names(subgroups)) {
    rows <- data[!is.na(data[[column]]), ]
    x <- rows[[column]]
    layers <- if (is.factor(x)) x else factor(x > median(x), levels = c(FALSE, TRUE))
    shown <- report[report$variable %in% subgroups[[column]]$name, ]
    present <- levels(droplevels(layers))
    for (i in seq_along(present)) {
      inside <- rows[layers == present[i], ]
      compare("subgroups", paste(column, present[i]), c("patients", "events"),
              shown[i, c("patients", "events")], c(nrow(inside), sum(inside$event)))
      compare_effect("subgroups", paste(column, present[i]), shown[i, ], within_effect(inside))
    }
    test <- tests[tests$variable == subgroups[[column]]$name, ]
    if (is.na(test$p)) next
    found <- if (is.factor(x)) by_levels(rows, layers)
             else linear_product(rows, x / subgroups[[column]]$per)
    compare("interactions", column, names(found), test[names(found)], found, 1e-5)
  }
  compare("interactions", tests$variable, "p_holm", tests$p_holm, p.adjust(tests$p, "holm"))
})

part("Centres", "survival", function() {
  models <- read_report("centre_models")
  if (is.null(models)) return()
  rows <- data[!is.na(data$centre), ]
  rows$centre <- as.character(rows$centre)
  for (adjusted in unique(models$adjusted)) {
    terms <- if (adjusted %in% c("True", "true", TRUE)) clinical else list()
    frame <- complete_rows(c(terms, list(score_term)), rows)
    frame$others <- if (length(terms)) design(varying(terms, frame), frame) else NULL
    right <- paste("score_sds", if (length(terms)) "+ others" else "")
    formula <- as.formula(paste("outcome ~", right))
    layered <- as.formula(paste("outcome ~", right, "+ strata(centre)"))
    fits <- list(score_model(formula, frame), score_model(formula, frame, cluster = frame$centre),
                 score_model(layered, frame))
    shown <- models[models$adjusted == adjusted, ]
    for (i in seq_along(fits)) {
      what <- paste(shown$model[i], adjusted)
      compare("centre_models", what, c("patients", "events"), shown[i, c("patients", "events")],
              c(nrow(frame), sum(frame$event)))
      if (is.na(shown$coefficient[i])) next
      compare_effect("centre_models", what, shown[i, ], score_effect(fits[[i]]))
    }
  }
  by_centre <- read_report("effect_by_centre")
  left_out <- read_report("leave_one_centre_out")
  for (i in seq_len(nrow(by_centre))) {
    here <- rows$centre == by_centre$centre[i]
    compare("effect_by_centre", by_centre$centre[i], c("patients", "events"),
            by_centre[i, c("patients", "events")], c(sum(here), sum(rows$event[here])))
    compare_effect("effect_by_centre", by_centre$centre[i], by_centre[i, ],
                   within_effect(rows[here, ]))
    rest <- rows[rows$centre != left_out$centre[i], ]
    compare("leave_one_centre_out", left_out$centre[i], c("patients", "events"),
            left_out[i, c("patients", "events")], c(nrow(rest), sum(rest$event)))
    if (is.na(left_out$coefficient[i])) next
    compare_effect("leave_one_centre_out", left_out$centre[i], left_out[i, ],
                   score_effect(score_model(outcome ~ score_sds + strata(centre), rest)))
  }
  text_numbers("score by centre", by_levels(rows, rows$centre), 1e-5)
})

part("Effect pooled over centres", c("survival", "metafor"), function() {
  if (!any(in_text$item == "pooled over centres")) return()
  by_centre <- read_report("effect_by_centre")
  by_centre <- by_centre[!is.na(by_centre$se), ]
  fit <- metafor::rma(by_centre$coefficient, by_centre$se^2, method = "PM", test = "adhoc",
                      level = 100 * confidence, control = list(tol = 1e-12, maxiter = 1000))
  future <- predict(fit)
  several <- nrow(by_centre) > 2
  text_numbers("pooled over centres", c(
    estimate = fit$b[[1]], se = fit$se, lower = fit$ci.lb, upper = fit$ci.ub,
    prediction_lower = if (several) future$pi.lb else NA,
    prediction_upper = if (several) future$pi.ub else NA,
    tau = sqrt(fit$tau2), q = fit$QE, p = fit$QEp, i_squared = fit$I2 / 100), 1e-5)
})
