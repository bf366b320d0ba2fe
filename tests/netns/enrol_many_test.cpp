// SPDX-License-Identifier: Apache-2.0
// A node that fills up at once: a hundred pods join with one change of the file, and leave with another.
#include <doctest/doctest.h>
#include <sys/resource.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <limits>
#include <memory>

#include "kernel_traces.hpp"
#include "load.hpp"
#include "outcome.hpp"
#include "server.hpp"
#include "world.hpp"

using namespace culvert::test;

namespace {

constexpr int crowd_size = 100;
const std::string enrolment = "culvert_capture_enrolment_seconds";

#if defined(NDEBUG) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
constexpr bool is_release = true;
#else
constexpr bool is_release = false;
#endif

// The upper end of the bucket that the median of what came since falls into.
double median_since(const Samples& before, const Samples& now) {
    const auto samples = [&](const std::string& name) {
        const auto was = before.find(name);
        return now.at(name) - (was == before.end() ? 0 : was->second);
    };
    const double half = samples(enrolment + "_count") / 2;
    double median = std::numeric_limits<double>::infinity();
    for (const auto& [name, count] : now) {
        const std::string bucket = enrolment + "_bucket{le=\"";
        if (!name.starts_with(bucket) || samples(name) < half) continue;
        median = std::min(median, std::stod(name.substr(bucket.size())));
    }
    return median;
}

// How many descriptors of each kind of kernel object the daemon holds: "prog_id 9 map_id 12 ..."
std::string held(const Node& node) {
    std::map<std::string, int> kinds{{"prog_id:", 0}, {"map_id:", 0}, {"link_id:", 0}};
    std::error_code gone;
    for (const auto& fd :
         std::filesystem::directory_iterator{"/proc/" + std::to_string(node.pid()) + "/fdinfo", gone}) {
        std::ifstream told{fd.path()};
        std::string kind;  // a link tells its program, too
        for (std::string word; told >> word;)
            if (kinds.contains(word) && kind != "link_id:") kind = word;
        if (!kind.empty()) ++kinds[kind];
    }
    std::string text;
    for (const auto& [kind, count] : kinds) text += kind + " " + std::to_string(count) + " ";
    return text;
}

std::size_t pod_folders(const Node& node) {
    std::filesystem::directory_iterator pods{pin_folder(node) + "/pods"};
    return static_cast<std::size_t>(std::distance(begin(pods), end(pods)));
}

std::size_t rows(const Node& node, const std::string& map) {
    const std::string dump = dump_map(node, map);
    std::size_t count = 0;
    for (std::size_t at = 0; (at = dump.find("\"key\"", at)) != std::string::npos; ++at) ++count;
    return count;
}

// What a pod's own entries are in, as they are without the crowd.
std::string traces(const Node& node) {
    return held(node) + "folders " + std::to_string(pod_folders(node)) + " rows " +
           std::to_string(rows(node, "cv_pods")) + " " + std::to_string(rows(node, "cv_own_ips")) + " " +
           std::to_string(rows(node, "cv_pod_ips"));
}

void allow_many_descriptors() {
    rlimit limit{};
    REQUIRE(::getrlimit(RLIMIT_NOFILE, &limit) == 0);
    limit.rlim_cur = limit.rlim_max;
    REQUIRE(::setrlimit(RLIMIT_NOFILE, &limit) == 0);
}

void set_enrolled(World& world, const std::vector<Pod*>& crowd, bool enrolled) {
    for (const Pod* pod : crowd) world.mesh.workload(*pod).enrolled = enrolled;
    world.reconfigure();
}

// How long the control thread has been ready to run without a CPU.
double seconds_queued(const Node& node) {
    std::ifstream file{"/proc/" + std::to_string(node.pid()) + "/schedstat"};
    double ran = 0;
    double queued = 0;
    file >> ran >> queued;
    return queued / 1e9;
}

// The median of an enrolment in seconds; on a machine busy with something else, the mean without the wait for a CPU.
double join_all(World& world, const std::vector<Pod*>& crowd) {
    const Samples before = world.one.metrics();
    const double waited = seconds_queued(world.one);
    const Stopwatch watch;
    set_enrolled(world, crowd, true);
    for (std::size_t i = 0; i < crowd.size(); ++i) REQUIRE(world.one.says({"crowd", "is in the mesh"}, 10s));
    const Samples now = world.one.metrics();
    const double median = median_since(before, now);
    const double mean = (now.at(enrolment + "_sum") - before.at(enrolment + "_sum")) / crowd_size;
    const double queued = (seconds_queued(world.one) - waited) / crowd_size;
    MESSAGE("a hundred pods joined in " << watch.elapsed().count() << " ms; an enrolment's median: under "
                                        << median * 1000 << " ms, mean: " << mean * 1000
                                        << " ms, a pod's wait for a CPU: " << queued * 1000 << " ms");
    return std::min(median, mean - queued);
}

void leave_all(World& world, const std::vector<Pod*>& crowd) {
    const Stopwatch watch;
    set_enrolled(world, crowd, false);
    for (std::size_t i = 0; i < crowd.size(); ++i) REQUIRE(world.one.says({"crowd", "has left the mesh"}, 10s));
    MESSAGE("and left in " << watch.elapsed().count() << " ms, with a deadline of 1000");
}

}

TEST_SUITE("enrol_many") {

TEST_CASE("enrol: a hundred pods join at once and leave at once, in milliseconds each, and nothing is left of them" IPV4
              EBPF_ONLY("rules are put in by processes, in tens of milliseconds")) {
    World world{[](Mesh& mesh) { mesh.settings.deadline = "1s"; }};
    allow_many_descriptors();
    std::vector<Pod*> crowd;
    for (int i = 0; i < crowd_size; ++i) crowd.push_back(&world.lab.add_pod("crowd" + std::to_string(i), 1, 100 + i));
    for (const Pod* pod : crowd) world.mesh.add(Workload{.pod = pod, .service_account = "crowd", .enrolled = false});
    world.reconfigure();
    REQUIRE(world.one.says({"applied"}));
    auto far = std::make_unique<Server>(world.far.netns(), 8080, apps::echo);
    auto plain = std::make_unique<Server>(world.plain2.netns(), 8080, apps::echo);
    Load others{world.client, world.vip("far", Family::v4), "others", 1};
    Load outside{world.plain1, world.plain2.at(Family::v4, 8080), "outside", 1};
    std::vector<Connection> older;
    for (const Pod* pod : crowd) older.push_back(pod->dial(world.plain2.at(Family::v4, 8080)));
    const auto go_on = [&] { return std::ranges::all_of(older, [](Connection& app) { return app.echoes("older"); }); };
    CHECK(go_on());
    const std::string traces_before = traces(world.one);

    double median = join_all(world, crowd);
    world.mark();
    CHECK(go_on());
    for (const Pod* pod : crowd) CHECK(pod->dial(world.far.at(Family::v4, 8080)).echoes("sealed"));
    world.two.access_log().wait_for(
        {{"direction", "inbound"}, {"src.identity", "spiffe://cluster.local/ns/ns/sa/crowd"}});
    CHECK(rows(world.one, "cv_pods") == 2 + crowd_size);

    leave_all(world, crowd);
    CHECK_MESSAGE(traces(world.one) == traces_before, "before: " << traces_before);
    // A machine that is busy with something else gets more tries; what is slow stays slow.
    for (int again = 0; is_release && median > 0.005 && again < 3; ++again) {
        median = std::min(median, join_all(world, crowd));
        leave_all(world, crowd);
    }
    if (is_release) CHECK(median <= 0.005);
    CHECK(go_on());
    CHECK(others.goes_on());
    for (Load* load : {&others, &outside}) {
        load->stop();
        CHECK_MESSAGE(load->failed() == 0, load->first_failure());
    }
    for (const Pod* pod : crowd) CHECK(pod->dial(world.plain2.at(Family::v4, 8080)).echoes("in the clear"));
    // A process with many threads forks slowly, and this starts several for each pod.
    older.clear();
    plain.reset();
    far.reset();
    for (const Pod* pod : crowd) {
        CAPTURE(pod->name());
        CHECK(left_in(*pod) == "");
    }
    CHECK(total(world.one.metrics(), "culvert_capture_repairs_total") == 0);
}

}
