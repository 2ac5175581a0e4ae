# ---- Cox models ---------------------------------------------------------------------------------

exact <- survival::coxph.control(eps = 1e-11, toler.chol = 1e-13, iter.max = 50)

# Firth's penalty: the Cox likelihood times the root of the information's determinant (Heinze and
# Schemper 2001). coxph.fit, not allowed to iterate, gives likelihood and information; the slope of
# the penalised likelihood is taken numerically, and Newton's method finds its maximum.
firth_fit <- function(time, event, x, with_limits, strata = NULL) {
  count <- ncol(x)
  outcome <- survival::Surv(time, event)
  # Penalised likelihoods of two models can only be compared when their columns have one scale.
  spread <- unname(apply(x, 2, function(column) sqrt(mean((column - mean(column))^2))))
  x <- sweep(x, 2, spread, "/")
  rownames(x) <- seq_len(nrow(x))
  layers <- if (!is.null(strata)) as.integer(strata)
  still <- survival::coxph.control(iter.max = 0)
  at <- function(beta) {
    fit <- suppressWarnings(survival::coxph.fit(x, outcome, layers, NULL, beta, still, NULL,
                                                "efron", rownames(x)))
    information <- solve(as.matrix(fit$var))
    list(information = information,
         value = fit$loglik[2] + as.numeric(determinant(information)$modulus) / 2)
  }
  value_at <- function(beta) {
    value <- tryCatch(at(beta)$value, error = function(problem) -Inf)
    if (is.finite(value)) value else -Inf
  }
  # The largest value over some of the coefficients, from `beta`.
  largest <- function(beta, free) {
    value <- value_at(beta)
    for (turn in seq_len(if (any(free)) 100 else 0)) {
      slope <- vapply(which(free), function(k) {
        shift <- replace(numeric(count), k, 1e-4)
        (value_at(beta + shift) - value_at(beta - shift)) / 2e-4
      }, numeric(1))
      step <- solve(at(beta)$information[free, free, drop = FALSE], slope)
      step <- step / max(1, abs(step))
      repeat {
        new <- replace(beta, which(free), beta[free] + step)
        if (value_at(new) >= value || max(abs(step)) < 1e-7) break
        step <- step / 2
      }
      beta <- new
      value <- value_at(new)
      if (max(abs(step)) < 1e-7) break
    }
    list(par = beta, value = value)
  }
  best <- largest(numeric(count), rep(TRUE, count))
  found <- list(coefficients = best$par / spread, loglik = c(value_at(numeric(count)), best$value),
                method = "Firth")
  if (!with_limits) return(found)
  every <- seq_len(count)
  drop_from_best <- function(k, value)
    2 * (best$value - largest(replace(best$par, k, value), every != k)$value)
  limit <- function(k, side) {
    gap <- function(far) drop_from_best(k, best$par[k] + side * far) - qchisq(confidence, 1)
    far <- 1
    while (gap(far) < 0 && far < 64) far <- 2 * far
    best$par[k] + side * uniroot(gap, c(0, far), tol = 1e-8)$root
  }
  c(found, list(lower = vapply(every, limit, numeric(1), side = -1) / spread,
                upper = vapply(every, limit, numeric(1), side = 1) / spread,
                p = vapply(every, function(k) pchisq(drop_from_best(k, 0), 1, lower.tail = FALSE),
                           numeric(1))))
}

# Whether a level has patients and no events, so that the likelihood has no maximum.
without_events <- function(terms, rows) any(vapply(terms, function(term) {
  x <- rows[[term$column]]
  is.factor(x) && any(tapply(rows$event, x, sum) == 0)
}, logical(1)))

# One Cox model on columns. With `method` "auto", Firth's penalty is used where the likelihood has
# no maximum, of which coxph warns.
fit_columns <- function(time, event, x, method, with_limits, entry = NULL, strata = NULL) {
  if (method == "firth" && !is.null(entry))
    stop("not done, because this script has no Firth's penalty with late entry")
  if (method == "firth") return(firth_fit(time, event, x, with_limits, strata))
  outcome <- if (is.null(entry)) survival::Surv(time, event)
             else survival::Surv(entry, time, event)
  endless <- FALSE
  fit <- withCallingHandlers(
    if (is.null(strata)) survival::coxph(outcome ~ x, ties = "efron", control = exact)
    else survival::coxph(outcome ~ x + strata(strata), ties = "efron", control = exact),
    warning = function(problem) {
      endless <<- endless || grepl("infinite|converge", conditionMessage(problem))
      invokeRestart("muffleWarning")
    })
  beta <- unname(coef(fit))
  if (method == "auto" && endless) {
    kept <- !is.na(beta)
    found <- firth_fit(time, event, x[, kept, drop = FALSE], with_limits, strata)
    found$coefficients <- replace(beta, kept, found$coefficients)
    return(found)
  }
  se <- sqrt(diag(as.matrix(fit$var)))
  list(coefficients = beta, se = se, lower = beta - critical * se, upper = beta + critical * se,
       z = beta / se, p = 2 * pnorm(-abs(beta / se)), loglik = fit$loglik, method = "Efron")
}

# One Cox model on the patients who have every variable.
fit_model <- function(terms, frame = data, method = penalty, with_limits = FALSE) {
  rows <- complete_rows(terms, frame)
  terms <- varying(terms, rows)
  x <- design(terms, rows)
  if (method == "auto" && without_events(terms, rows)) method <- "firth"
  c(fit_columns(rows$time, rows$event, x, method, with_limits, if (late) rows$entry_time,
                folds_of(rows)),
    list(rows = rows, terms = terms, x = x))
}
linear_predictor <- function(model) as.vector(model$x %*% model$coefficients)

compare_model <- function(key, report, model) {
  tolerance <- if (model$method == "Firth") 1e-5 else 1e-6
  inside <- report[!(report$reference %in% c("True", "true", TRUE)), ]
  what <- paste(inside$variable, ifelse(is.na(inside$level), "", inside$level))
  compare(key, what, "coefficient", inside$coefficient, model$coefficients, tolerance)
  compare(key, what, "hazard_ratio", inside$hazard_ratio, exp(model$coefficients), tolerance)
  compare(key, what, "lower", inside$lower, exp(model$lower), tolerance)
  compare(key, what, "upper", inside$upper, exp(model$upper), tolerance)
  compare(key, what, "p", inside$p, model$p, tolerance)
  if (model$method == "Efron") {
    compare(key, what, "se", inside$se, model$se)
    compare(key, what, "z", inside$z, model$z)
  }
  if (!("patients" %in% names(report))) return()
  for (i in seq_len(nrow(report))) {
    term <- Filter(function(term) term$name == report$variable[i], model$terms)[[1]]
    x <- model$rows[[term$column]]
    kept <- if (is.factor(x)) x %in% report$level[i] else rep(TRUE, nrow(model$rows))
    compare(key, paste(report$variable[i], report$level[i]), c("patients", "events"),
            report[i, c("patients", "events")], c(sum(kept), sum(model$rows$event[kept])))
  }
}

part("Univariable Cox models", "survival", function() {
  report <- read_report("cox_univariable")
  if (is.null(report)) return()
  for (term in c(list(group_term, score_term), clinical)) {
    rows <- report[report$variable == term$name, ]
    if (!nrow(rows)) next
    model <- fit_model(list(term), with_limits = TRUE)
    compare_model("cox_univariable", rows, model)
    gain <- 2 * diff(model$loglik)
    compare("cox_univariable", term$name, "variable_p", rows$variable_p[1],
            pchisq(max(gain, 0), length(model$coefficients), lower.tail = FALSE),
            if (model$method == "Firth") 1e-5 else 1e-6)
  }
})

part("Multivariable Cox models", "survival", function() {
  for (each in list(list("cox_multivariable_score", score_term),
                    list("cox_multivariable_group", group_term))) {
    report <- read_report(each[[1]])
    if (!is.null(report))
      compare_model(each[[1]], report,
                    fit_model(c(list(each[[2]]), clinical), with_limits = TRUE))
  }
})

part("Likelihood-ratio test of the score", "survival", function() {
  if (!any(in_text$item == "gain from the score")) return()
  rows <- complete_rows(c(clinical, list(score_term)))
  larger <- fit_model(c(clinical, list(score_term)), rows)
  method <- if (larger$method == "Firth") "firth" else penalty
  smaller <- fit_model(clinical, rows, method)
  if (smaller$method == "Firth") larger <- fit_model(c(clinical, list(score_term)), rows, "firth")
  statistic <- 2 * (larger$loglik[2] - smaller$loglik[2])
  degrees <- length(larger$coefficients) - length(smaller$coefficients)
  text_numbers("gain from the score", c(
    statistic = statistic, degrees_of_freedom = degrees,
    p = pchisq(max(statistic, 0), degrees, lower.tail = FALSE), patients = nrow(rows),
    events = sum(rows$event)), if (larger$method == "Firth") 1e-5 else 1e-6)
})

part("Test of proportional hazards", "survival", function() {
  report <- read_report("proportional_hazards")
  if (is.null(report)) return()
  model <- fit_model(c(list(score_term), clinical))
  # One matrix a variable, so that cox.zph tests its levels together.
  blocks <- lapply(model$terms, function(term) design(list(term), model$rows))
  names(blocks) <- paste0("b", seq_along(blocks))
  frame <- model$rows[c("time", if (out_of_fold) "model_fold")]
  frame$outcome <- outcome_of(model$rows)
  for (name in names(blocks)) frame[[name]] <- blocks[[name]]
  formula <- within_strata(reformulate(names(blocks), "outcome"))
  environment(formula) <- environment()
  # At the coefficients of the model, also where they are penalised.
  fit <- suppressWarnings(survival::coxph(formula, frame, init = model$coefficients,
                                          control = survival::coxph.control(iter.max = 0)))
  found <- survival::cox.zph(fit, transform = "km")$table
  found <- found[seq_len(nrow(report)), , drop = FALSE]  # with one variable there is no GLOBAL
  compare("proportional_hazards", report$variable, "statistic", report$statistic, found[, "chisq"])
  compare("proportional_hazards", report$variable, "degrees_of_freedom",
          report$degrees_of_freedom, found[, "df"])
  compare("proportional_hazards", report$variable, "p", report$p, found[, "p"])
})

# Rubin's rules with the degrees of freedom of Barnard and Rubin (1999), on the imputed tables
# that the report used (analysis_imputed.csv).
part("Cox model after multiple imputation", "survival", function() {
  report <- read_report("cox_imputed")
  tables <- read_csv("analysis_imputed.csv")
  if (is.null(report) || is.null(tables)) return()
  names(tables) <- c("imputation", "time", "event", "risk_score", if (out_of_fold) "model_fold",
                     names(variables))
  for (v in names(variables))
    if (length(variables[[v]]$levels))
      tables[[v]] <- as_levels(as.character(tables[[v]]), variables[[v]]$levels)
  models <- lapply(split(tables, tables$imputation),
                   function(frame) fit_model(c(list(score_term), clinical), frame))
  if (any(vapply(models, function(model) model$method, "") == "Firth")) {
    not_done <<- c(not_done, paste("Cox model after multiple imputation: not done, because",
                                   "Firth's penalty has no standard error in this script"))
    return()
  }
  count <- length(models)
  beta <- do.call(cbind, lapply(models, function(model) model$coefficients))
  within <- rowMeans(do.call(cbind, lapply(models, function(model) model$se^2)))
  extra <- (1 + 1 / count) * apply(beta, 1, var)
  total <- within + extra
  share <- extra / total
  spare <- max(sum(models[[1]]$rows$event) - nrow(beta), 1)
  observed <- (spare + 1) / (spare + 3) * spare * (1 - share)
  degrees <- ifelse(share == 0, observed, 1 / (share^2 / (count - 1) + 1 / observed))
  estimate <- rowMeans(beta)
  half <- qt(0.5 + confidence / 2, degrees) * sqrt(total)
  t <- estimate / sqrt(total)
  ratio <- extra / within
  found <- data.frame(
    coefficient = estimate, se = sqrt(total), hazard_ratio = exp(estimate),
    lower = exp(estimate - half), upper = exp(estimate + half), p = 2 * pt(-abs(t), degrees),
    t = t, degrees_of_freedom = degrees,
    fraction_missing = (ratio + 2 / (degrees + 3)) / (ratio + 1))
  inside <- report[!(report$reference %in% c("True", "true", TRUE)), ]
  for (name in names(found))
    compare("cox_imputed", paste(inside$variable, inside$level), name, inside[[name]],
            found[[name]])
})
