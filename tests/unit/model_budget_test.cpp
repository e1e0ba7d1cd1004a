// Who gets how many of the workers that all pools may have together.
#include <doctest/doctest.h>

#include <algorithm>
#include <numeric>

#include "common/entropy.h"
#include "daemon/supervisor/model/budget.h"

using mtd::model::divide;
using Shares = std::vector<mtd::model::Pool::Share>;
using Grants = std::vector<std::uint32_t>;

TEST_CASE("what fits is granted") {
  CHECK(divide(10, Shares{{1, 1, 4}, {2, 2, 6}}) == Grants{4, 6});
  CHECK(divide(10, Shares{}) == Grants{});
}

TEST_CASE("what is short goes to the pool with the fewest beyond its floor") {
  CHECK(divide(10, Shares{{1, 7, 9}, {1, 1, 9}}) == Grants{7, 3});
  CHECK(divide(12, Shares{{0, 0, 9}, {0, 0, 9}, {0, 0, 2}}) == Grants{5, 5, 2});
  CHECK(divide(5, Shares{{1, 1, 9}, {1, 1, 9}}) == Grants{3, 2});
}

TEST_CASE("nothing is taken away, whatever the capacity") {
  CHECK(divide(3, Shares{{1, 4, 9}, {2, 2, 2}}) == Grants{4, 2});
  CHECK(divide(0, Shares{{0, 0, 1}}) == Grants{0});
}

TEST_CASE("for any pools: no more than there is, all that can be used, and no unfair share") {
  mtd::Entropy dice(1);
  for (int round = 0; round < 2000; ++round) {
    Shares shares;
    std::uint64_t has = 0;
    for (std::uint64_t i = dice.next() % 6; i > 0; --i) {
      const auto floor = static_cast<std::uint32_t>(dice.next() % 4);
      const auto owns = floor + static_cast<std::uint32_t>(dice.next() % 4);
      shares.push_back({floor, owns, owns + static_cast<std::uint32_t>(dice.next() % 9)});
      has += owns;
    }
    const std::uint64_t capacity = dice.next() % 40;
    const Grants grants = divide(capacity, shares);
    const std::uint64_t given = std::accumulate(grants.begin(), grants.end(), std::uint64_t{0});
    CHECK(given <= std::max(capacity, has));
    for (std::size_t i = 0; i < shares.size(); ++i) {
      CHECK(grants[i] >= shares[i].has);
      CHECK(grants[i] <= shares[i].needs);
      if (grants[i] == shares[i].needs) continue;
      CHECK(given >= capacity);  // it waits only while nothing is left
      for (std::size_t k = 0; k < shares.size(); ++k) {
        if (grants[k] == shares[k].has) continue;  // was given nothing
        CHECK(grants[k] - shares[k].floor <= grants[i] - shares[i].floor + 1);
      }
    }
  }
}
