// SPDX-License-Identifier: Apache-2.0
#include <culvert/grpc/status.hpp>

#include <doctest/doctest.h>
#include <nghttp2/nghttp2.h>

#include "grpc/words.hpp"

using namespace culvert::grpc;

TEST_SUITE("grpc") {

TEST_CASE("status: is said as others say it") {
    CHECK(Status{Code::unauthenticated, "authentication failure"}.to_string() ==
          "Unauthenticated: authentication failure");
    CHECK(Status{}.to_string() == "Ok");
    CHECK(Status{}.ok());
}

TEST_CASE("status: numbers are read, unknown ones are Unknown, and what is none is none") {
    CHECK(parse_code("0") == Code::ok);
    CHECK(parse_code("16") == Code::unauthenticated);
    CHECK(parse_code("17") == Code::unknown);
    for (const char* bad : {"", "x", "1x", "-1", " 1", "99999999999"}) {
        CAPTURE(bad);
        CHECK(!parse_code(bad));
    }
}

TEST_CASE("status: messages are percent-decoded, and odd ones stay as they are") {
    CHECK(percent_decoded("a%20b%0A%e2%82%AC") == "a b\n\xe2\x82\xac");
    CHECK(percent_decoded("100%") == "100%");
    CHECK(percent_decoded("100%2") == "100%2");
    CHECK(percent_decoded("%zz%4") == "%zz%4");
    CHECK(percent_decoded("%25") == "%");
    CHECK(percent_decoded("") == "");
}

TEST_CASE("status: HTTP's and HTTP/2's own answers have their codes") {
    CHECK(code_of_http(401) == Code::unauthenticated);
    CHECK(code_of_http(403) == Code::permission_denied);
    CHECK(code_of_http(404) == Code::unimplemented);
    CHECK(code_of_http(503) == Code::unavailable);
    CHECK(code_of_http(418) == Code::unknown);
    CHECK(code_of_reset(NGHTTP2_REFUSED_STREAM) == Code::unavailable);
    CHECK(code_of_reset(NGHTTP2_CANCEL) == Code::cancelled);
    CHECK(code_of_reset(NGHTTP2_ENHANCE_YOUR_CALM) == Code::resource_exhausted);
    CHECK(code_of_reset(NGHTTP2_PROTOCOL_ERROR) == Code::internal);
}

}
