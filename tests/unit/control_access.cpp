// Who gets which tier.
#include <doctest/doctest.h>

#include "daemon/control/access.h"

using namespace mtd::control;
using mtd::control::Tier;

TEST_CASE("tiers by uid and group") {
  const AccessPolicy policy{500, 20, 30};
  const auto tier = [&](uid_t uid, gid_t gid, std::vector<gid_t> groups) {
    return classify(policy, {uid, gid, 1, std::move(groups)}).tier;
  };
  CHECK(tier(0, 0, {}) == Tier::admin);
  CHECK(tier(500, 99, {}) == Tier::admin);
  CHECK(tier(1000, 20, {}) == Tier::operate);
  CHECK(tier(1000, 99, {1, 2, 20}) == Tier::operate);
  CHECK(tier(1000, 99, {30, 20}) == Tier::operate);
  CHECK(tier(1000, 30, {}) == Tier::read);
  CHECK(tier(1000, 99, {30}) == Tier::read);
  CHECK_FALSE(tier(1000, 99, {1}).has_value());
  CHECK_FALSE(tier(65534, 0, {0}).has_value());
}

TEST_CASE("no groups configured: only root and the owner") {
  const AccessPolicy policy{500, std::nullopt, std::nullopt};
  CHECK_FALSE(classify(policy, {1000, 0, 1, {0}}).tier.has_value());
  CHECK_FALSE(classify(policy, {1000, 0, 1, {0}}).privileged);
  CHECK(classify(policy, {0, 7, 1, {}}).privileged);
  CHECK(classify(policy, {500, 7, 1, {}}).privileged);
}

TEST_CASE("a tier includes those below it") {
  CHECK(allows(Tier::admin, Tier::operate));
  CHECK(allows(Tier::operate, Tier::operate));
  CHECK_FALSE(allows(Tier::read, Tier::operate));
  CHECK_FALSE(allows(Tier::operate, Tier::admin));
  CHECK_FALSE(allows(std::nullopt, Tier::read));
}
