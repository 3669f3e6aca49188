#version 330
// Noise, light and tone shared by the ground and by the models.
uniform vec3 key_dir;        // towards the sun or the moon
uniform vec3 key_colour;
uniform vec3 sky_light;      // ambient from above
uniform vec3 ground_light;   // ambient from below
uniform vec3 lamp_pos;
uniform vec3 lamp_colour;    // black by day
uniform vec3 haze_colour;
uniform float haze;          // per unit of distance
uniform vec3 eye;
uniform float grain;         // seed of all noise, in [0, 1000)
uniform mat4 shadow_matrix;
uniform sampler2D shadow_map;

float hash(vec2 p) {
    vec3 q = fract(vec3(p.xyx) * 0.1031);
    q += dot(q, q.yzx + 33.33);
    return fract((q.x + q.y) * q.z);
}

float noise(vec2 p) {
    vec2 i = floor(p), f = fract(p);
    f = f * f * (3.0 - 2.0 * f);
    float low = mix(hash(i), hash(i + vec2(1, 0)), f.x);
    float high = mix(hash(i + vec2(0, 1)), hash(i + vec2(1, 1)), f.x);
    return mix(low, high, f.y);
}

float clouds(vec2 p) {
    float sum = 0.0, size = 0.5;
    for (int i = 0; i < 4; i++) {
        sum += size * noise(p);
        p = mat2(1.6, 1.2, -1.2, 1.6) * p + 7.1;
        size *= 0.5;
    }
    return sum / 0.9375;
}

float ripples(vec2 p) {
    return 0.67 * noise(p) + 0.33 * noise(p * 2.3 + 7.1);
}

float lit(vec3 p) {
    vec3 s = (shadow_matrix * vec4(p, 1.0)).xyz * 0.5 + 0.5;
    if (any(lessThan(s.xy, vec2(0.0))) || any(greaterThan(s.xy, vec2(1.0)))) return 1.0;
    float sum = 0.0;
    for (int i = -1; i <= 1; i++)
        for (int j = -1; j <= 1; j++)
            sum += step(s.z - 0.006, texture(shadow_map, s.xy + vec2(i, j) * 1.6 / 320.0).r);
    return sum / 9.0;
}

// Light that a matt surface gives back; `open` is its ambient openness, `soft` wraps the
// terminator as clay does, `seen` is the share of the key light that reaches it.
vec3 shade(vec3 albedo, vec3 p, vec3 n, float open, float soft, float seen) {
    float sun = clamp((dot(n, key_dir) + soft) / (1.0 + soft), 0.0, 1.0) * seen;
    vec3 to_lamp = lamp_pos - p;
    float far = dot(to_lamp, to_lamp);
    float lamp = clamp((dot(n, normalize(to_lamp)) + 0.35) / 1.35, 0.0, 1.0) / (1.0 + 0.35 * far);
    vec3 ambient = mix(ground_light, sky_light, 0.5 + 0.5 * n.y) * open;
    return albedo * (ambient + key_colour * sun + lamp_colour * lamp * (0.35 + 0.65 * seen) * (0.5 + 0.5 * open));
}

vec3 develop(vec3 c, float distance) {
    c = mix(haze_colour, c, exp(-haze * distance));
    c *= 0.74;
    c = (c * (2.51 * c + 0.03)) / (c * (2.43 * c + 0.59) + 0.14);
    return pow(clamp(c, 0.0, 1.0), vec3(1.0 / 2.2));
}
