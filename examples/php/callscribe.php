<?php

declare(strict_types=1);

// What post.php and webhook.php share: requests to the service, and the signature of its webhooks.

const TOLERANCE_SECONDS = 300;
const TRIES = 6;
const BUSY = [429, 503, 507];

/** The message says what went wrong. */
final class CallFailed extends RuntimeException
{
}

function setting(string $name, string $default = ''): string
{
    return getenv($name) ?: $default;
}

/** Whether a webhook is genuine and fresh. $body has the bytes as they were received. */
function verify(string $secret, string $id, string $timestamp, string $signatures, string $body, int $now): bool
{
    if (!ctype_digit($timestamp) || abs($now - (int) $timestamp) > TOLERANCE_SECONDS) {
        return false;
    }
    $key = base64_decode(preg_replace('/^whsec_/', '', $secret), true);
    $expected = 'v1,' . base64_encode(hash_hmac('sha256', "$id.$timestamp.$body", $key, true));
    foreach (explode(' ', $signatures) as $given) {
        if (hash_equals($expected, $given)) {
            return true;
        }
    }
    return false;
}

function api_url(): string
{
    return rtrim(setting('API_URL', 'http://127.0.0.1:8000'), '/');
}

/** Returns the URL of a link of the service. A link is a path from the root of its host. */
function url_of(string $link): string
{
    return preg_replace('~^(https?://[^/]+).*$~', '$1', api_url()) . $link;
}

/** Sends a request until the service has time for it. Returns the JSON of the answer. */
function send(string $method, string $url, array $headers = [], string $body = ''): array
{
    if (setting('API_KEY') !== '') {
        $headers[] = 'Authorization: Bearer ' . setting('API_KEY');
    }
    $http = ['method' => $method, 'header' => $headers, 'content' => $body, 'timeout' => 90, 'ignore_errors' => true];
    for ($tries = 0; $tries < TRIES; $tries++) {
        $answer = @file_get_contents($url, false, stream_context_create(['http' => $http]));
        if ($answer === false) { // the idempotency key makes it safe to repeat the request
            fwrite(STDERR, error_get_last()['message'] . "\n");
            sleep(2);
            continue;
        }
        $status = (int) explode(' ', $http_response_header[0])[1];
        if ($status < 300) {
            return json_decode($answer, true, flags: JSON_THROW_ON_ERROR);
        }
        if (!in_array($status, BUSY, true)) {
            throw new CallFailed(problem($status, $answer));
        }
        fwrite(STDERR, "The service is busy ($status).\n");
        sleep(retry_after($http_response_header));
    }
    throw new CallFailed('The service did not accept the request in ' . TRIES . ' tries.');
}

function retry_after(array $headers): int
{
    foreach ($headers as $header) {
        if (preg_match('/^Retry-After: *(\d+)$/i', $header, $found)) {
            return (int) $found[1];
        }
    }
    return 5;
}

/** Returns an RFC 9457 problem in words. A proxy may answer with something else. */
function problem(int $status, string $answer): string
{
    $problem = json_decode($answer, true);
    if (!isset($problem['code'], $problem['detail'])) {
        return "The service answered $status.";
    }
    $fields = array_map(fn (array $error) => "\n  {$error['field']}: {$error['detail']}", $problem['errors'] ?? []);
    return "{$problem['code']}: {$problem['detail']}" . implode('', $fields);
}
